"""On a CUDA device: bf16 loading, batch invariance, gradients. Skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medproof import models
from medproof.images.preprocess import to_float
from medproof.models import nano
from medproof.models.prompts import messages
from medproof.records import Decoding, Item, View

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

ITEM = Item(
    id="x/modality",
    image="x.png",
    case="x",
    modality="CT",
    question_type="Modality Recognition",
    question="What kind of imaging is this?",
    options=("CT", "MRI", "Ultrasound", "X-Ray"),
    answer="CT",
)


def views() -> list[View]:
    generator = np.random.default_rng(0)
    sizes = [(112, 112), (84, 112), (112, 84), (112, 112)]
    return [
        View(ITEM, "clean", "direct", messages(ITEM, "direct"), generator.integers(0, 256, (*s, 3), dtype=np.uint8))
        for s in sizes
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_scores_on_the_gpu_agree_with_the_cpu(dtype: str, tolerance: float) -> None:
    on_cpu = models.load("nano", device="cpu").option_logprobs(views())
    on_gpu = models.load("nano", device="cuda", dtype=dtype).option_logprobs(views())  # type: ignore[arg-type]
    for a, b in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), atol=tolerance)


def test_batches_do_not_change_greedy_text_in_float32() -> None:
    model = models.load("nano", device="cuda", dtype="float32")
    decoding = Decoding(max_new_tokens=12)
    assert model.generate(views(), decoding) == [model.generate([v], decoding)[0] for v in views()]


def test_gradients_reach_the_pixels_in_bf16() -> None:
    model = models.load(str(Path(nano.checkpoint())), device="cuda", dtype="bfloat16")
    pixels = [to_float(v.image).cuda().requires_grad_() for v in views() if v.image is not None]
    gradients = torch.autograd.grad(model.loss(pixels, views()).sum(), pixels)
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in gradients)
