"""Options that a reader who cannot see the image gains nothing from.

Let class c be the true answer of a share p_c of a group's rows, and K options be offered. The option set is drawn by
systematic sampling with inclusion probabilities pi_c = K p_c (Madow, Ann. Math. Stat. 20:333-354, 1949), conditional on
the true class being drawn. Then P(c is right | option set) = 1/K for every offered c: the joint probability of class c
and start point u is p_c / pi_c = 1/K, the same for every class that u selects. Classes of one family lie side by side
on the sampled line and their lengths sum to at most one step, so two of them are never offered together. It needs
p_family <= 1/K; families above that are thinned.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from medproof.datasets.vocabulary import family

MAX_CHOICES = 4
MIN_KEPT = 0.7
"""More options are preferred to more items as long as at least this share of the items stays."""


def _family_counts(counts: Mapping[str, int]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for answer, n in counts.items():
        totals[family(answer)] += n
    return totals


def family_cap(counts: Mapping[str, int], k: int) -> int:
    """The largest m such that families thinned to m items have a share of at most 1/k each; 0 where impossible."""
    totals = _family_counts(counts)
    for cap in range(max(totals.values(), default=0), 0, -1):
        if k * cap <= sum(min(n, cap) for n in totals.values()):
            return cap
    return 0


def kept(counts: Mapping[str, int], cap: int) -> int:
    """Items left when every family is thinned to at most `cap`."""
    return sum(min(n, cap) for n in _family_counts(counts).values())


def choose_k(counts: Mapping[str, int], most: int = MAX_CHOICES) -> int:
    """Number of options for a group: the largest that keeps MIN_KEPT of the items, else 2; 0 for a single family."""
    families = len(_family_counts(counts))
    if families < 2:
        return 0
    total = sum(counts.values())
    for k in range(min(most, families), 2, -1):
        if kept(counts, family_cap(counts, k)) >= MIN_KEPT * total:
            return k
    return 2


def draw_options(counts: Mapping[str, int], answer: str, k: int, generator: np.random.Generator) -> list[str]:
    """`k` different answers with `answer` among them, in the order drawn.

    `counts`: how often each class is the true answer, families thinned to a share of at most 1/k. Integer arithmetic:
    class c has length k * n_c on a line of k steps of length N each, so nothing is rounded.
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        members[family(name)].append(name)
    families = sorted(members)
    order = [families[i] for i in generator.permutation(len(families))]
    step = sum(counts.values())
    ends: list[tuple[int, str]] = []
    position = start = 0
    for name in (name for key in order for name in members[key]):
        if name == answer:
            start = position
        position += k * counts[name]
        ends.append((position, name))
    point = (start + int(generator.integers(k * counts[answer]))) % step
    return [next(name for end, name in ends if end > point + j * step) for j in range(k)]


def thin(ids: Sequence[str], answers: Mapping[str, str], cap: int) -> set[str]:
    """Ids to keep: of each family the first `cap` in the given order."""
    seen: Counter[str] = Counter()
    keep: set[str] = set()
    for key in ids:
        seen[family(answers[key])] += 1
        if seen[family(answers[key])] <= cap:
            keep.add(key)
    return keep
