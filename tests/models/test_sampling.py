"""The token draw: right frequencies, right filters, nothing but a row's own logits and seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from medproof.models.sampling import SeededSampler, draw, uniforms

PROBABILITIES = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])


def frequencies(logits: torch.Tensor, count: int = 20_000, seed: int = 0, **settings: float) -> np.ndarray:
    """(V,) how often each token is drawn from one (V,) row of logits."""
    tokens = draw(logits.expand(count, -1), uniforms([seed], count)[0], **{"temperature": 1.0, **settings})  # type: ignore[arg-type]
    return np.bincount(tokens.numpy(), minlength=len(logits)) / count


def support(logits: torch.Tensor, **settings: float) -> set[int]:
    return set(np.flatnonzero(frequencies(logits, 2_000, **settings)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_match_the_tempered_softmax(temperature: float) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2
    expected = (logits.double() / temperature).softmax(-1).numpy()
    observed = frequencies(logits, temperature=temperature)
    assert chisquare(observed * 20_000, expected * 20_000).pvalue > 0.01


def test_filtered_frequencies_are_the_rest_renormalised() -> None:
    expected = np.array([0.4, 0.3, 0.15, 0, 0]) / 0.85
    for kind in ({"top_k": 3}, {"top_p": 0.8}):
        observed = frequencies(PROBABILITIES.log(), **kind)
        assert chisquare(observed[:3] * 20_000, expected[:3] * 20_000).pvalue > 0.01
        assert observed[3:].sum() == 0


def test_filters_by_hand() -> None:
    logits = PROBABILITIES.log()
    assert support(logits, top_k=1) == {0}
    assert support(logits, top_k=2) == {0, 1}
    assert support(logits, top_k=9) == {0, 1, 2, 3, 4}
    assert support(logits, top_p=0.39) == {0}
    assert support(logits, top_p=0.41) == {0, 1}
    assert support(logits, top_p=0.75) == {0, 1, 2}
    assert support(logits, top_k=2, top_p=0.5) == {0}, "top_p counts what top_k left: 4/7 of it is the first token"
    assert support(logits, top_p=0.41, temperature=0.2) == {0}, "temperature comes first"
    assert support(torch.zeros(4), top_k=2) == {0, 1, 2, 3}, "equals are kept together"


@given(st.integers(0, 10_000), st.floats(0.3, 3), st.integers(0, 12), st.floats(0.05, 1))
@settings(max_examples=40, deadline=None)
def test_support_is_that_of_transformers(seed: int, temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn(1, 10, generator=torch.Generator().manual_seed(seed)) * 3
    scores = TemperatureLogitsWarper(temperature)(None, logits)
    scores = TopKLogitsWarper(top_k)(None, scores) if top_k else scores
    scores = TopPLogitsWarper(top_p)(None, scores) if top_p < 1 else scores
    kept = torch.isfinite(scores[0])
    grid = torch.linspace(0, 1, 4_001, dtype=torch.float64)[:-1]
    drawn = draw(logits.expand(len(grid), -1), grid, temperature, top_p, top_k).unique()
    assert kept[drawn].all()
    probable = (scores[0].softmax(-1) > 1e-3).nonzero().squeeze(1)
    assert set(probable.tolist()) <= set(drawn.tolist())


def test_temperature_zero_is_the_argmax_and_small_ones_near_it() -> None:
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(2))
    uniform = uniforms([3], 50)[0]
    assert torch.equal(draw(logits, uniform, 0.0), logits.argmax(-1))
    assert torch.equal(draw(logits, uniform, 1e-4), logits.argmax(-1))


def test_a_logit_of_minus_infinity_is_never_drawn() -> None:
    logits = torch.zeros(3)
    logits[[0, 2]] = -torch.inf
    edges = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits.expand(3, -1), edges, 1.0).tolist() == [1, 1, 1]


def test_a_large_vocabulary_in_which_all_weigh_the_same() -> None:
    """The integer sum does not overflow and the edges are the first and the last token."""
    logits = torch.full((3, 1 << 18), 5.0)
    edges = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits, edges, 1.0).tolist() == [0, 1 << 17, (1 << 18) - 1]


def test_a_draw_does_not_depend_on_the_batch() -> None:
    logits = torch.randn(64, 2048, generator=torch.Generator().manual_seed(4)) * 3
    uniform = uniforms(range(64), 1)[:, 0]
    together = draw(logits, uniform, 0.9, 0.95, 50)
    alone = [int(draw(logits[i : i + 1], uniform[i : i + 1], 0.9, 0.95, 50)) for i in range(64)]
    assert together.tolist() == alone
    order = torch.randperm(64, generator=torch.Generator().manual_seed(5))
    assert torch.equal(draw(logits[order], uniform[order], 0.9, 0.95, 50), together[order])


def test_uniform_numbers_belong_to_their_seed() -> None:
    many = uniforms([5, 6, 7], 10)
    assert torch.equal(many[1], uniforms([6], 10)[0])
    assert torch.equal(many[:, :4], uniforms([5, 6, 7], 4))
    assert len(many.unique()) == 30
    assert many.min() >= 0
    assert many.max() < 1


def test_the_processor_for_transformers_leaves_only_the_drawn_token() -> None:
    scores = torch.randn(3, 20, generator=torch.Generator().manual_seed(6))
    sampler = SeededSampler([1, 2, 3], 2, temperature=1.0, top_p=0.9)
    table = uniforms([1, 2, 3], 2)
    for step in range(2):
        left = sampler(torch.empty(3, 0), scores)
        assert torch.equal(left.argmax(-1), draw(scores, table[:, step], 1.0, 0.9))
        assert torch.isfinite(left).sum() == 3
