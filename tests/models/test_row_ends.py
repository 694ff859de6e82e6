"""Reading the ends of rows on a random nano: what is run, for which tokens, and that it is the whole row's state."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medproof import models
from medproof.images.preprocess import to_float
from medproof.models import row_ends
from medproof.models.batch import Row
from medproof.models.chat import AnswerSlot
from medproof.models.qwen_vl import QwenVL, _margins
from medproof.models.row_ends import end_states, lay_out
from medproof.records import View

MakeView = Callable[..., View]


@pytest.fixture(scope="module")
def model(random_nano: Path) -> QwenVL:
    return models.load(str(random_nano), device="cpu")


@pytest.fixture
def views(make_view: MakeView) -> list[View]:
    return [make_view(size, seed) for seed, size in enumerate([(112, 112), (84, 112), (56, 56)])]


def rows_of(model: QwenVL, views: list[View], tail: str = "<answer>") -> tuple[Row, ...]:
    return tuple(Row(model._prompt(view) + model.chat.text_ids(tail), i) for i, view in enumerate(views))


def mlp_inputs(model: QwenVL, views: list[View]) -> list[torch.Tensor]:
    """What the MLP of each layer sees in one pass."""
    seen: list[torch.Tensor] = []
    layers = model.net.model.language_model.layers
    hooks = [layer.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
    model.option_logprobs(views)
    for hook in hooks:
        hook.remove()
    return seen


def states(model: QwenVL, rows: tuple[Row, ...], counts: tuple[int, ...], views: list[View]) -> torch.Tensor:
    images = model._patches([to_float(view.image) for view in views if view.image is not None])
    sizes = tuple(map(tuple, images.grid_thw.tolist()))
    layout = lay_out(model.net, model.chat.image_token_id, model._pad_id, rows, counts, sizes)
    features = model.net.model.get_image_features(images.pixel_values, images.grid_thw, return_dict=True)
    return end_states(model.net, layout, features)


def test_common_text_is_run_once_and_the_last_layer_on_one_token_a_row(model: QwenVL, views: list[View]) -> None:
    prompts = [model._prompt(view) for view in views]
    before = prompts[0].index(model.chat.image_token_id)
    longest = max(len(row.ids) for row in rows_of(model, views))
    count = len(model.net.model.language_model.layers)
    shapes = [tuple(states.shape[:2]) for states in mlp_inputs(model, views)]
    assert before > 0
    assert shapes == [(1, before)] * count + [(3, longest - before)] * (count - 1) + [(3, 1)]


def test_rows_that_begin_otherwise_share_nothing(model: QwenVL, views: list[View]) -> None:
    rows = rows_of(model, views)
    other = (Row(rows[0].ids[1:], 0), *rows[1:])
    sizes = ((1, 8, 8), (1, 6, 8), (1, 4, 4))
    layouts = [lay_out(model.net, model.chat.image_token_id, model._pad_id, r, (1, 1, 1), sizes) for r in (rows, other)]
    assert layouts[0].common > 0
    assert layouts[1].common == 0
    found = states(model, other, (1, 1, 1), views)
    alone = states(model, (Row(rows[1].ids, 0),), (1,), views[1:2])
    torch.testing.assert_close(found[1:2], alone, atol=2e-5, rtol=1e-4)


def test_the_last_states_of_each_row_are_those_of_the_whole_row(model: QwenVL, views: list[View]) -> None:
    rows = rows_of(model, views, "<think>It is CT.</think><answer>")
    counts = (3, 1, 7)
    with torch.no_grad():
        found = torch.split(states(model, rows, counts, views), counts)
        for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
            whole = states(model, (Row(row.ids, 0),), (len(row.ids),), [views[i]])
            torch.testing.assert_close(found[i], whole[-count:], atol=2e-5, rtol=1e-4)


def test_the_steps_of_an_attack_lay_their_rows_out_once(
    random_nano: Path, views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where scoring, in inference mode, was there first: its layout serves gradients."""
    calls, original = [], row_ends.positions
    monkeypatch.setattr(row_ends, "positions", lambda *given: calls.append(given) or original(*given))
    model = models.load(str(random_nano), device="cpu")
    model.option_logprobs(views)
    for _ in range(2):
        pixels = [to_float(view.image).requires_grad_() for view in views if view.image is not None]
        torch.autograd.grad(model.loss(pixels, views).sum(), pixels)
    assert len(calls) == 1


def test_margins_of_unequal_numbers_of_options() -> None:
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    slots = [AnswerSlot((), (4, 7)), AnswerSlot((), (1, 2, 3, 9)), AnswerSlot((), (11, 12, 13))]
    answers = [1, 0, 2]
    expected = []
    for row, slot, answer in zip(logits.tolist(), slots, answers, strict=True):
        wrong = [row[k] for i, k in enumerate(slot.letters) if i != answer]
        expected.append(max(wrong) - row[slot.letters[answer]])
    torch.testing.assert_close(_margins(logits, slots, answers), torch.tensor(expected))
