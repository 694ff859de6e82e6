"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL with random weights: the adapter against plain transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from medproof import models
from medproof.images.grid import Grid
from medproof.images.preprocess import to_float
from medproof.models.qwen_vl import QwenVL
from medproof.records import Decoding, View

MakeView = Callable[..., View]
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 2048,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "rope_parameters": ROPE,
}
VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
    "qwen2_5_vl": {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "num_heads": 2,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
    "qwen3_vl": {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": 64,
        "num_heads": 2,
        "patch_size": 16,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
    },
}
SIZES = {"qwen2_vl": [(112, 112), (84, 112)], "qwen2_5_vl": [(112, 112), (84, 112)], "qwen3_vl": [(96, 96), (64, 96)]}


def build_config(family: str, ids: dict[str, int]) -> Any:
    import transformers

    name = {"qwen2_vl": "Qwen2VLConfig", "qwen2_5_vl": "Qwen2_5_VLConfig", "qwen3_vl": "Qwen3VLConfig"}[family]
    return getattr(transformers, name)(
        text_config={**TEXT, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]},
        vision_config=VISION[family],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


@pytest.fixture(scope="module", params=sorted(VISION))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, random_nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model of the family, with nano's tokenizer."""
    from medproof.models import nano
    from medproof.models.loading import load_processor, save_folder

    chat, _, _ = load_processor(str(random_nano))
    ids = {token: int(chat.tokenizer.convert_tokens_to_ids(token)) for token in nano.SPECIAL}
    torch.manual_seed(0)
    net = AutoModelForImageTextToText.from_config(build_config(family, ids))
    patch = 16 if family == "qwen3_vl" else 14
    grid = Grid(patch_size=patch, min_pixels=(2 * patch) ** 2, max_pixels=(8 * patch) ** 2)
    path = tmp_path_factory.mktemp(family)
    save_folder(path, net, chat.tokenizer, nano.processor_config(grid))
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
