from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof.datasets.balance import choose_k, draw_options, family_cap, kept, thin
from medproof.datasets.vocabulary import compatible, family

NAMES = ["lung", "chest", "brain", "pituitary gland", "skin", "breast", "retina", "macula", "abdomen", "pelvis"]
COUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 60), min_size=2)


def thinned(counts: dict[str, int], k: int) -> dict[str, int]:
    """Families cut to the cap by cutting their members from the last."""
    cap = family_cap(counts, k)
    left: dict[str, int] = {}
    for name in sorted(counts):
        used = sum(n for other, n in left.items() if family(other) == family(name))
        if n := min(counts[name], cap - used):
            left[name] = n
    return left


@given(COUNTS, st.integers(0, 2**32))
@settings(max_examples=150)
def test_options_hold_the_answer_and_exclude_each_other(counts: dict[str, int], seed: int) -> None:
    k = choose_k(counts)
    if k == 0:
        assert len({family(name) for name in counts}) == 1
        return
    counts = thinned(counts, k)
    for answer in counts:
        options = draw_options(counts, answer, k, np.random.default_rng(seed))
        assert len(options) == len(set(options)) == k
        assert answer in options
        assert all(compatible(a, b) for i, a in enumerate(options) for b in options[:i])


@given(COUNTS, st.integers(2, 4))
@settings(max_examples=150)
def test_the_cap_is_the_largest_that_keeps_shares_below_one_in_k(counts: dict[str, int], k: int) -> None:
    families = Counter[str]()
    for name, n in counts.items():
        families[family(name)] += n
    cap = family_cap(counts, k)
    if len(families) < k:
        assert cap == 0
        return
    assert k * cap <= kept(counts, cap)
    larger = cap + 1
    assert larger > max(families.values()) or k * larger > kept(counts, larger)


@pytest.mark.parametrize(
    ("counts", "k"),
    [
        ({"CT": 23, "MRI": 13, "X-Ray": 18, "Ultrasound": 21, "Dermoscopy": 9, "Microscopy": 15}, 4),
        ({"chest": 20, "lung": 15, "brain": 30, "skin": 40, "breast": 50}, 3),
        ({"melanoma": 10, "seborrheic keratosis": 20, "melanocytic nevus": 30}, 2),
    ],
)
def test_an_offered_option_is_right_once_in_k(counts: dict[str, int], k: int) -> None:
    """P(c right | c offered) = 1/K for every class, however unequal the classes: nothing for a text prior to count."""
    generator = np.random.default_rng(7)
    offered, right = Counter[str](), Counter[str]()
    repeats = 60
    for answer, n in counts.items():
        for _ in range(n * repeats):
            offered.update(draw_options(counts, answer, k, generator))
            right[answer] += 1
    for name in counts:
        deviation = (1 / k * (1 - 1 / k) / offered[name]) ** 0.5
        assert abs(right[name] / offered[name] - 1 / k) < 4.5 * deviation, name


def test_drawing_distractors_uniformly_would_fail_that_test() -> None:
    """The reason for the scheme: with uniform distractors the frequent class gives itself away."""
    counts = {"CT": 60, "MRI": 20, "X-Ray": 20, "OCT": 20}
    generator = np.random.default_rng(7)
    offered, right = Counter[str](), Counter[str]()
    for answer, n in counts.items():
        others = [name for name in counts if name != answer]
        for _ in range(n * 60):
            offered.update([answer, *generator.choice(others, 1)])
            right[answer] += 1
    assert right["CT"] / offered["CT"] > 0.7


def test_more_options_are_preferred_unless_too_many_items_go() -> None:
    assert choose_k({"a": 10, "b": 10, "c": 10, "d": 10, "e": 10}) == 4
    assert choose_k({"a": 40, "b": 30, "c": 8}) == 2
    assert choose_k({"a": 50}) == 0
    assert choose_k({"chest": 50, "lung": 5}) == 0


def test_thinning_keeps_the_first_of_each_family() -> None:
    answers = {"1": "chest", "2": "lung", "3": "brain", "4": "chest", "5": "brain"}
    assert thin(["1", "2", "3", "4", "5"], answers, 1) == {"1", "3"}
