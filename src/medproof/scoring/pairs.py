"""Pairs: the same item clean and under condition k (METRICS, "Pairs")."""

from __future__ import annotations

from collections.abc import Mapping

from medproof.records import Item, Outcome
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import answer_of, both, is_correct


def flips(
    clean: Mapping[str, Outcome], other: Mapping[str, Outcome], items: Mapping[str, Item], seed: int = 0
) -> dict[str, Json]:
    """Over the items counted in both arms, each {value, ci95, n}:

    - `flip` F = P(a_k != a_0); an abstention and an unparsed reply are answers of their own;
    - `harmful_flip` H = P(c_k = 0 | c_0 = 1), its parts `harmful_wrong`, `harmful_abstain`, `harmful_unparsed`;
    - `beneficial_flip` B = P(c_k = 1 | c_0 = 0);
    - `net` = Acc_k - Acc_0, by cluster bootstrap; the others are plain proportions (Wilson).
    """
    pairs = both(clean, other)
    was_right = [after for _, before, after in pairs if is_correct(before)]
    was_not = [after for _, before, after in pairs if not is_correct(before)]
    net = bootstrapped(
        [[float(is_correct(before)) for _, before, _ in pairs], [float(is_correct(after)) for _, _, after in pairs]],
        {"net": lambda means: means[..., 1] - means[..., 0]},
        [items[item_id].cluster for item_id, _, _ in pairs],
        seed,
    )
    return {
        "flip": share(answer_of(before) != answer_of(after) for _, before, after in pairs),
        "harmful_flip": share(not is_correct(after) for after in was_right),
        "harmful_wrong": share(after.status == "wrong" for after in was_right),
        "harmful_abstain": share(after.status == "abstain" for after in was_right),
        "harmful_unparsed": share(after.status == "unparsed" for after in was_right),
        "beneficial_flip": share(is_correct(after) for after in was_not),
        "net": net["net"],
    }
