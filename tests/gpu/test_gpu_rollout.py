"""On a CUDA device: the decoding step as a CUDA graph, float32 and bfloat16. Skipped where there is none."""

import numpy as np
import pytest
import torch

from medproof import models
from medproof.models.prompts import messages
from medproof.models.qwen_vl import QwenVL
from medproof.records import Decoding, Item, Mode, View
from medproof.training.groups import Group, Images, Prompt
from medproof.training.rollout.decode import Decoder
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.local import LocalEngine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def make_prompts(model: QwenVL) -> list[Prompt]:
    prompts = []
    modes: tuple[Mode, ...] = ("think", "direct", "think_after", "think")
    for number, size in enumerate([(112, 112), (84, 112), (112, 84), (112, 112)]):
        item = Item(
            id=f"x{number}/modality",
            image="x.png",
            case=f"x{number}",
            modality="CT",
            question_type="Modality Recognition",
            question="What kind of imaging is this?" + " Look closely." * number,
            options=("CT", "MRI", "Ultrasound", "X-Ray"),
            answer="CT",
        )
        text = messages(item, modes[number])
        image = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        ids = model.chat.prompt_ids(text, model.grid.tokens(*size))
        prompts.append(Prompt(item, modes[number], text, image, ids, seed=number))
    return prompts


def written(groups: list[Group]) -> list[list[tuple[int, ...]]]:
    return [[c.ids for c in group.completions] for group in groups]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_graph_gives_the_tokens_of_the_plain_step(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both in fixed shapes, so that the kernels are the same; the graph is really replayed."""
    model = models.load("nano", device="cuda", dtype=dtype)  # type: ignore[arg-type]
    prompts = make_prompts(model)
    images = Images.of_prompts(prompts)
    captured = Decoder._captured
    replays: list[bool] = []

    def spy(self: Decoder) -> object:
        step = captured(self)
        replays.append(step != self._step)
        return step

    monkeypatch.setattr(Decoder, "_captured", spy)
    engine = LocalEngine(model.net, model.chat, model.grid)
    graph = engine.generate(prompts, images, Sampling(8, 40))
    assert replays == [True], "the step was not captured: see the logged reason"
    monkeypatch.setattr(Decoder, "_captured", lambda self: self._step)
    assert written(engine.generate(prompts, images, Sampling(8, 40))) == written(graph)


def test_greedy_in_float32_equals_generate_with_and_without_a_graph() -> None:
    model = models.load("nano", device="cuda", dtype="float32")
    prompts = make_prompts(model)
    shown = [View(p.item, "clean", p.mode, p.messages, p.image) for p in prompts]
    replies = [r.text for r in model.generate(shown, Decoding(max_new_tokens=40))]
    for compile_decode in (True, False):
        engine = LocalEngine(model.net, model.chat, model.grid, compile_decode=compile_decode)
        groups = engine.generate(prompts, Images.of_prompts(prompts), Sampling(2, 40, temperature=0))
        assert [[c.text for c in g.completions] for g in groups] == [[text] * 2 for text in replies]


def test_autocast_with_a_graph() -> None:
    model = models.load("nano", device="cuda", dtype="float32")
    prompts = make_prompts(model)
    engine = LocalEngine(model.net, model.chat, model.grid, autocast=torch.bfloat16)
    groups = engine.generate(prompts, Images.of_prompts(prompts), Sampling(4, 40))
    assert sum("<answer>" in c.text for g in groups for c in g.completions) >= 12
