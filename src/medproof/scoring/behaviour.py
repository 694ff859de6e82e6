"""Where the right answer is known to stay, to change, or to be a refusal: does the model do so?"""

from __future__ import annotations

from medproof.records import Condition
from medproof.scoring.asked import asked
from medproof.scoring.contrasts import add_holm, contrast, only, rate, right_under
from medproof.scoring.numbers import Json
from medproof.scoring.pairs import flips
from medproof.scoring.refusal import is_refusal_option
from medproof.scoring.scored import CLEAN, Scored, both, counted

EXPECTED = {"wording(negated)": "flip", "wording(false_premise)": "refuse", "mirrored(flip)": "flip"}
CONTROLS = {"wording(false_premise)": "wording(answerable)"}
"""Others are held against clean."""
_NAMES = ("wording", "mirrored")


def behaviour(scored: Scored, seed: int = 0) -> Json | None:
    """Rewordings and mirror images; null without. `rows`, one per condition:

    - `expected`: keep, flip, refuse, or any (`wording(vague)`); `accuracy` of the answer that is then right;
    - `flip`, `harmful_flip` H, `beneficial_flip` B and `net` against the control `against` (`pairs.flips`);
    - `stuck` = P(a_k = a_0 | c_0 = 1): right at first, and the same answer again;
    - `refused`: replies that refuse, by word or option;
    - `difference` = Acc_k - Acc_control, with exact McNemar and Holm over the block.
    """
    keys = [key for key in scored.conditions if scored.outcomes[key] and Condition.parse(key).name in _NAMES]
    if not keys:
        return None
    rows = [_row(scored, key, seed) for key in keys]
    return {"rows": rows, "tests": add_holm(rows)}


def _row(scored: Scored, key: str, seed: int) -> Json:
    against = CONTROLS.get(key, CLEAN)
    before, arm = scored.outcomes.get(against, {}), scored.outcomes[key]
    right = right_under(scored, against)
    same = {i: a.chosen is not None and a.chosen == b.chosen for i, a, b in both(before, arm)}
    return {
        "condition": key,
        "expected": "any" if key == "wording(vague)" else EXPECTED.get(key, "keep"),
        "against": against,
        "accuracy": rate(right_under(scored, key)),
        **flips(before, arm, scored.items, seed),
        "stuck": rate(only(same, right)),
        "refused": rate(_refusals(scored, key)),
        "difference": contrast(right_under(scored, key), right, scored.items, seed),
    }


def _refusals(scored: Scored, key: str) -> dict[str, bool]:
    flags = {}
    for item_id, outcome in counted(scored.outcomes[key]).items():
        item = asked(scored.items[item_id], scored.responses[key][item_id].info)
        in_words = outcome.status == "abstain"
        flags[item_id] = in_words or (outcome.chosen in item.options and is_refusal_option(str(outcome.chosen)))
    return flags
