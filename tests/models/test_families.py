"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL with random weights: the adapter against plain transformers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from medproof import models
from medproof.images.preprocess import to_float
from medproof.models.loading import load_processor
from medproof.models.qwen_vl import QwenVL
from medproof.records import Decoding, View
from tiny_families import SIZES, VISION, save_family

MakeView = Callable[..., View]


@pytest.fixture(scope="module", params=sorted(VISION))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, random_nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model of the family, with nano's tokenizer."""
    chat, _, _ = load_processor(str(random_nano))
    path = tmp_path_factory.mktemp(family)
    save_family(family, path, chat.tokenizer)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> QwenVL:
    return models.load(str(folder), device="cpu")


@pytest.fixture
def views(family: str, make_view: MakeView) -> list[View]:
    large, small = SIZES[family]
    shown = [make_view(large, 1), make_view(small, 2), make_view(None, 3), make_view(large, 4)]
    return [*shown, shown[0]]


def plain_scores(folder: Path, model: QwenVL, view: View) -> np.ndarray:
    """One view through untouched transformers: stock attention, stock patch embedding, all logits."""
    net = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    slot = model.chat.answer_slot(view.item.letters)
    ids = torch.tensor([model._prompt(view) + slot.context])
    types = (ids == model.chat.image_token_id).long()
    pixels, grid, _ = model._stock_pixels([view])
    images = {} if pixels is None else {"pixel_values": pixels, "image_grid_thw": grid, "mm_token_type_ids": types}
    with torch.no_grad():
        logits = net(input_ids=ids, **images).logits[0, -1, list(slot.letters)]
    return np.asarray(logits.double().log_softmax(-1))


def test_scores_equal_plain_transformers(folder: Path, model: QwenVL, views: list[View]) -> None:
    ours = model.option_logprobs(views)
    for view, scores in zip(views, ours, strict=True):
        np.testing.assert_allclose(scores, plain_scores(folder, model, view), atol=2e-5)


def test_the_image_matters_and_the_loss_reaches_it(model: QwenVL, views: list[View]) -> None:
    shown = [v for v in views if v.image is not None]
    pixels = [to_float(v.image).requires_grad_() for v in shown if v.image is not None]
    losses = model.loss(pixels, shown, "margin")
    gradients = torch.autograd.grad(losses.sum(), pixels)
    assert all(float(g.abs().sum()) > 0 for g in gradients)
    for loss, logp in zip(losses.tolist(), model.option_logprobs(shown), strict=True):
        assert loss == pytest.approx(max(logp[1:]) - logp[0], abs=1e-4)


def test_greedy_text_is_batch_free(model: QwenVL, views: list[View]) -> None:
    decoding = Decoding(max_new_tokens=4)
    assert model.generate(views, decoding) == [model.generate([v], decoding)[0] for v in views]


def test_the_grid_is_read_from_the_folder(family: str, model: QwenVL) -> None:
    assert model.grid.factor == (32 if family == "qwen3_vl" else 28)


def test_texts_and_visual_tokens_equal_plain_transformers(folder: Path, model: QwenVL, views: list[View]) -> None:
    """Log-probability of a text from all logits of the whole row; tokens from the stock encoder, deep ones beside."""
    net = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    prefix, text = "<think>It is CT.</think>", "<answer>B</answer>"
    for view in [view for view in views if view.image is not None]:
        pixels, grid, _ = model._stock_pixels([view])
        before = model._prompt(view) + model.chat.text_ids(prefix)
        ids = torch.tensor([before + model.chat.text_ids(text)])
        types = (ids == model.chat.image_token_id).long()
        with torch.no_grad():
            out = net(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=types)
            encoded = net.model.get_image_features(pixels, grid, return_dict=True)
            (tokens,) = model.features([to_float(view.image)])
            found = model.continuation_logprobs([to_float(view.image)], [view], [text], [prefix])
        logps = out.logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        assert float(found) == pytest.approx(float(logps[len(before) - 1 :].sum()), abs=1e-4)
        levels = [encoded.pooler_output, *(getattr(encoded, "deepstack_features", None) or [])]
        torch.testing.assert_close(tokens, torch.cat([level[0] for level in levels], -1), atol=1e-4, rtol=1e-3)


def losses_and_gradients(model: QwenVL, views: list[View], prefixes: list[str] | None) -> list[torch.Tensor]:
    """Margins and -log p of the answers, and their gradients at each image."""
    found = []
    for objective in ("margin", "answer"):
        pixels = [to_float(view.image).requires_grad_() for view in views if view.image is not None]
        loss = model.loss(pixels, views, objective, prefixes)
        found += [loss.detach(), *torch.autograd.grad(loss.sum(), pixels)]
    return found


@pytest.mark.parametrize("prefixes", [None, ["<answer>", "<think>It is CT.</think><answer>", "<think>MRI</think>"]])
def test_reading_ends_of_rows_equals_the_stock_forward(
    model: QwenVL, views: list[View], prefixes: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and gradients beside those of the net's own pass over every token, which eager attention asks for."""
    shown = [views[0], views[1], views[3]]
    ours = losses_and_gradients(model, shown, prefixes)
    monkeypatch.setattr(model.net.model.language_model.config, "_attn_implementation", "eager")
    stock = losses_and_gradients(model, shown, prefixes)
    for found, wanted in zip(ours, stock, strict=True):
        assert float(wanted.abs().max()) > 0
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-6 * max(1.0, float(wanted.abs().max())))


def test_questions_without_image_equal_the_stock_forward(
    model: QwenVL, make_view: MakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that share everything: all but the token that is read is run once."""
    blind = [make_view(None, 1), make_view(None, 2)]
    ours = model.option_logprobs(blind)
    monkeypatch.setattr(model.net.model.language_model.config, "_attn_implementation", "eager")
    np.testing.assert_allclose(ours, model.option_logprobs(blind), atol=2e-6)
