"""Noisy copies through a real network: the numbers of the slow path, each copy encoded once, no neighbour felt."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medproof import models
from medproof.images.preprocess import patchify, patchify_copies, to_float
from medproof.models.loading import load_processor
from medproof.models.prompts import messages
from medproof.models.protocol import CopyVoter
from medproof.models.qwen_vl import QwenVL
from medproof.records import Decoding, Mode, View
from medproof.smoothing.noise import noisy_copies, standard_normal
from medproof.smoothing.votes import Base, Draws, VoteEngine
from tiny_families import SIZES, VISION, save_family

MakeView = Callable[..., View]


@pytest.fixture(scope="module", params=sorted(VISION))
def model(request: pytest.FixtureRequest, random_nano: Path, tmp_path_factory: pytest.TempPathFactory) -> QwenVL:
    family = str(request.param)
    path = tmp_path_factory.mktemp(family)
    save_family(family, path, load_processor(str(random_nano))[0].tokenizer)
    model = models.load(str(path), device="cpu")
    model.name = family
    return model


def other(view: View) -> View:
    """A shorter question on the same image."""
    item = view.item.model_copy(update={"id": "other", "options": ("CT", "MRI")})
    return replace(view, item=item, messages=messages(item, view.mode))


def copies_of(view: View, count: int, key: int = 3) -> torch.Tensor:
    assert view.image is not None
    image = to_float(view.image)
    return noisy_copies(image, 0.25, torch.from_numpy(standard_normal(key, 0, count, tuple(image.shape))))


def test_letters_equal_those_of_the_attack_path(model: QwenVL, make_view: MakeView) -> None:
    """Several images, sizes, questions and prompt lengths in one call, in passes of any size."""
    large, small = SIZES[model.name]
    views = [[make_view(large, 1), other(make_view(large, 1))], [make_view(small, 2)]]
    copies = [copies_of(views[0][0], 5), copies_of(views[1][0], 3)]
    with torch.no_grad():
        slow = [[model.letter_logprobs(list(c), [v] * len(c)) for v in vs] for c, vs in zip(copies, views, strict=True)]
    for rows in (1, 6, 100):
        fast = model.copy_letters(copies, views, rows)
        for some, others in zip(fast, slow, strict=True):
            for logits, logps in zip(some, others, strict=True):
                wanted = torch.stack(logps)
                torch.testing.assert_close(logits - logits[:, :1], wanted - wanted[:, :1], atol=2e-4, rtol=1e-4)


def test_a_copy_is_encoded_once_for_all_its_questions(
    model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    kind = type(model.net.model)
    original = kind.get_image_features

    def counting(inner: Any, pixel_values: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        encoded.append(len(grid_thw))
        return original(inner, pixel_values, grid_thw, **kwargs)

    monkeypatch.setattr(kind, "get_image_features", counting)
    view = make_view(SIZES[model.name][0], 1)
    model.copy_letters([copies_of(view, 4)], [[view, other(view)]], rows=4)
    assert encoded == [4]


def test_the_model_is_left_as_it_was(model: QwenVL, make_view: MakeView) -> None:
    view = make_view(SIZES[model.name][0], 1)
    before = model.option_logprobs([view])[0]
    model.copy_letters([copies_of(view, 2)], [[view]], rows=2)
    assert model.option_logprobs([view])[0].tolist() == before.tolist()


def test_patches_of_copies_equal_those_one_by_one(make_view: MakeView, random_nano: Path) -> None:
    grid = models.load(str(random_nano), device="cpu").grid
    copies = copies_of(make_view((84, 112)), 3)
    together, sizes = patchify_copies(copies, grid)
    alone, shapes = patchify(list(copies), grid)
    assert torch.equal(together, alone)
    assert torch.equal(sizes, shapes)


@pytest.mark.parametrize("base", ["option_argmax", "greedy", "sampled"])
def test_votes_depend_on_nothing_else_in_the_call(base: Base, random_nano: Path, make_view: MakeView) -> None:
    model = models.load(str(random_nano), device="cpu")
    assert isinstance(model, CopyVoter)
    mode: Mode = "direct" if base == "option_argmax" else "think"
    views = [make_view((112, 112), 1, mode), make_view((84, 112), 2, mode)]
    engine = VoteEngine(model, 0.3, base=base, decoding=Decoding(max_new_tokens=4))
    requests = [Draws(views[0], 1, 0, 12), Draws(views[1], 2, 5, 6)]
    for request, votes in zip(requests, engine.draw(requests), strict=True):
        assert engine.draw([request])[0].tolist() == votes.tolist()
        assert len(votes) == request.count
