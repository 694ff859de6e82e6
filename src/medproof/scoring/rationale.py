"""Rationale audit: does the story hold? The claims of a rationale, each checked against its item's annotation.

Only what is said without doubt counts, and a claim that is made twice counts once. Grammar, verdicts and their
limits: docs/rationale_audit.md. A rationale is held against its own item under every condition, so that what is told
of a blank or another image shows what is told without looking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medproof.records import Condition, Item, Outcome
from medproof.scoring.asked import asked
from medproof.scoring.claims import KINDS, Claim, claims
from medproof.scoring.claims.annotation import Annotation, annotation
from medproof.scoring.claims.verdict import verdict
from medproof.scoring.intervals import Floats
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import CLEAN, Scored, answer_of, both, counted, is_correct

_THOUGHT = re.compile(r"<\s*think\s*>(.*?)(?:<\s*/\s*think\s*>|$)", re.IGNORECASE | re.DOTALL)
_MIRRORED = "mirrored"
MAX_CHARACTERS = 20_000
"""Of a rationale, so that a reply caught in a loop costs no more."""


@dataclass(frozen=True)
class Audit:
    """One rationale. claims: each once, with whether it is supported (True), contradicted (False) or not checkable.

    stated: the kinds of claim that the item's facts would support, and "conclusion".
    """

    claims: Mapping[Claim, bool | None]
    stated: frozenset[str]

    def verdicts(self, kind: str | None = None) -> list[bool]:
        """Of the asserted claims that can be checked, of one kind or of all."""
        return [
            held
            for claim, held in self.claims.items()
            if held is not None and not claim.hedged and kind in (None, claim.kind)
        ]

    @property
    def supported(self) -> int:
        return sum(self.verdicts())

    @property
    def contradicted(self) -> int:
        return len(self.verdicts()) - self.supported

    @property
    def conclusion(self) -> str | None:
        """The option it concludes with; None where it reaches none, or two."""
        ends = {claim.value for claim in self.claims if claim.kind == "conclusion"}
        return ends.pop() if len(ends) == 1 else None

    @property
    def story(self) -> frozenset[tuple[str, str, bool, str | None]]:
        """What it asserts, without the conclusion."""
        return frozenset(c.said for c in self.claims if c.kind != "conclusion" and not c.hedged)

    @property
    def coverage(self) -> float:
        """Share of these kinds of which something is supported and nothing contradicted: silence costs."""
        told = [self.verdicts(kind) for kind in self.stated]
        return sum(bool(held) and all(held) for held in told) / len(told)


def thought(text: str) -> str:
    """What stands between the thinking tags of a reply; of one that was cut off, what there is. Empty without tags."""
    return "\n".join(match.strip() for match in _THOUGHT.findall(text))


def audit(item: Item, rationale: str, known: Annotation | None = None) -> Audit:
    """Check a rationale. item: as it was asked; known: its annotation, where that is at hand."""
    known = known or annotation(item)
    found: dict[tuple[object, ...], Claim] = {}
    for claim in claims(rationale[:MAX_CHARACTERS], item.options, known.names):
        found.setdefault((*claim.said, claim.hedged), claim)
    held = {claim: verdict(claim, known, item.answer) for claim in found.values()}
    return Audit(held, known.stated)


def rationales(scored: Scored, seed: int = 0) -> Json | None:
    """The block `rationale` of report.json: `reasoning` by condition; None for a run without reasoning."""
    if scored.meta.get("mode") in (None, "direct"):
        return None
    return reasoning(scored, scored.conditions, seed)


def reasoning(scored: Scored, conditions: Sequence[str], seed: int = 0) -> dict[str, Json]:
    """By condition, over the replies counted there, each number {value, ci95, n}:

    - `tokens`: mean length of a reply; `parsed`: share of replies with a readable answer; `reasoned`: with a rationale;
    - `claims`: mean number of asserted claims; `checkable`: share of them that the annotation decides; `hedged`: share
      of all claims that are said with doubt;
    - `accuracy`: supported / (supported + contradicted), n of them; `contradicted`: the rest; `by_kind`: accuracy;
    - `wrong_reason`: P(some claim contradicted | answer correct), n correct answers;
    - `coverage`: mean over items of the share of their facts (modality, region, finding, side, count) and conclusion
      that are stated rightly: what is left out counts against it;
    - `answers_so`: of the replies that conclude and choose, the share that choose what they concluded;
    - `against_clean`: null for clean; see `_against_clean`.

    Intervals by cluster bootstrap; `parsed`, `reasoned` and `answers_so` are plain proportions (Wilson).
    """
    known = {item_id: annotation(item) for item_id, item in scored.items.items()}
    told = {condition: audits(scored, condition, known) for condition in {CLEAN, *conditions} & set(scored.conditions)}
    return {condition: _reasoning(scored, condition, told, seed) for condition in conditions}


def audits(scored: Scored, condition: str, known: Mapping[str, Annotation]) -> dict[str, Audit]:
    """By item, over the replies counted. known: by item; turned round where the condition mirrors the image."""
    mirrored = Condition.parse(condition).name == _MIRRORED
    found = {}
    for item_id in counted(scored.outcomes[condition]):
        reply = scored.responses[condition][item_id]
        as_asked = asked(scored.items[item_id], reply.info)
        truth = known[item_id].mirrored() if mirrored else known[item_id]
        found[item_id] = audit(as_asked, thought(reply.text), truth)
    return found


def _reasoning(scored: Scored, condition: str, told: Mapping[str, Mapping[str, Audit]], seed: int) -> Json:
    outcomes, found = counted(scored.outcomes[condition]), told[condition]
    replies = [scored.responses[condition][item_id] for item_id in outcomes]
    columns, ratios = _columns(outcomes, found)
    columns["tokens"] = [float(reply.completion_tokens) for reply in replies]
    clusters = [scored.items[item_id].cluster for item_id in outcomes]
    values = _ratios(columns, {**ratios, "tokens": ("tokens", "one"), "coverage": ("coverage", "one")}, clusters, seed)
    kinds = {kind: values.pop(kind) for kind in KINDS if kind in values}
    return {
        **values,
        "parsed": share(outcome.status != "unparsed" for outcome in outcomes.values()),
        "reasoned": share(bool(thought(reply.text).strip()) for reply in replies),
        "answers_so": share(
            found[i].conclusion == o.chosen
            for i, o in outcomes.items()
            if found[i].conclusion is not None and o.chosen is not None
        ),
        "by_kind": kinds,
        "against_clean": None
        if condition == CLEAN or CLEAN not in told
        else _against_clean(scored, condition, told, seed),
    }


Columns = dict[str, list[float]]
Ratio = tuple[str, str]


def _columns(outcomes: Mapping[str, Outcome], found: Mapping[str, Audit]) -> tuple[Columns, dict[str, Ratio]]:
    """One value per reply of every count, and which two make which ratio."""
    rows = [(is_correct(outcome), found[item_id]) for item_id, outcome in outcomes.items()]
    told = [audit for _, audit in rows]
    asserted = [[c for c in audit.claims if not c.hedged] for audit in told]
    columns: Columns = {
        "one": [1.0] * len(rows),
        "all": [float(len(audit.claims)) for audit in told],
        "asserted": [float(len(one)) for one in asserted],
        "doubted": [float(len(audit.claims) - len(one)) for audit, one in zip(told, asserted, strict=True)],
        **_checked(told),
        "correct": [float(right) for right, _ in rows],
        "misled": [float(right and audit.contradicted > 0) for right, audit in rows],
        "coverage": [audit.coverage for audit in told],
    }
    ratios = {
        "claims": ("asserted", "one"),
        "checkable": ("checked", "asserted"),
        "hedged": ("doubted", "all"),
        "accuracy": ("supported", "checked"),
        "contradicted": ("contradicted", "checked"),
        "wrong_reason": ("misled", "correct"),
    }
    for kind in KINDS:
        held = [audit.verdicts(kind) for audit in told]
        if any(held):
            columns |= {f"{kind} supported": [float(sum(one)) for one in held], f"{kind} checked": _lengths(held)}
            ratios[kind] = (f"{kind} supported", f"{kind} checked")
    return columns, ratios


def _checked(told: Sequence[Audit]) -> Columns:
    held = [audit.verdicts() for audit in told]
    supported = [float(sum(one)) for one in held]
    checked = _lengths(held)
    return {
        "supported": supported,
        "contradicted": [of - one for one, of in zip(supported, checked, strict=True)],
        "checked": checked,
    }


def _lengths(held: Iterable[Sequence[bool]]) -> list[float]:
    return [float(len(one)) for one in held]


def _ratios(columns: Columns, ratios: Mapping[str, Ratio], clusters: Sequence[str], seed: int) -> dict[str, Json]:
    """{value, ci95, n} of each ratio of sums; n is the sum below the line."""
    names = list(columns)

    def ratio(pair: Ratio) -> Callable[[Floats], Floats]:
        above, below = (names.index(name) for name in pair)
        return lambda means: means[..., above] / np.where(means[..., below] > 0, means[..., below], np.nan)

    found = bootstrapped([*columns.values()], {name: ratio(pair) for name, pair in ratios.items()}, clusters, seed)
    return {name: {**found[name], "n": int(sum(columns[below]))} for name, (_, below) in ratios.items()}


def _against_clean(scored: Scored, condition: str, told: Mapping[str, Mapping[str, Audit]], seed: int) -> Json:
    """Does the condition change the story, or only the letter? Over the items counted in both arms:

    - `accuracy`: the rationale accuracy under the condition minus that on the clean image, on the same resamples;
    - `both`, `story_only`, `letter_only`, `neither`: shares of the items by what changed. The story is the set of
      asserted claims without the conclusion, the letter is what was answered, by content;
    - `story_kept`: of the items with another answer, the share with the same story.
    """
    pairs = both(scored.outcomes[CLEAN], scored.outcomes[condition])
    before, after = ([told[arm][item_id] for item_id, _, _ in pairs] for arm in (CLEAN, condition))
    story = [a.story != b.story for a, b in zip(before, after, strict=True)]
    letter = [answer_of(a) != answer_of(b) for _, a, b in pairs]
    cells = {"both": (True, True), "story_only": (True, False), "letter_only": (False, True), "neither": (False, False)}
    columns: Columns = {
        "one": [1.0] * len(pairs),
        "letter": [float(changed) for changed in letter],
        **{f"clean {name}": column for name, column in _checked(before).items()},
        **_checked(after),
        **{name: [float(pair == cell) for pair in zip(story, letter, strict=True)] for name, cell in cells.items()},
    }
    ratios = {**{name: (name, "one") for name in cells}, "story_kept": ("letter_only", "letter")}
    clusters = [scored.items[item_id].cluster for item_id, _, _ in pairs]
    names = list(columns)

    def change(means: Floats) -> Floats:
        was, was_of, now, now_of = (
            means[..., names.index(name)] for name in ("clean supported", "clean checked", "supported", "checked")
        )
        return np.asarray(now / np.where(now_of > 0, now_of, np.nan) - was / np.where(was_of > 0, was_of, np.nan))

    difference = bootstrapped([*columns.values()], {"accuracy": change}, clusters, seed)
    return {**difference, **_ratios(columns, ratios, clusters, seed)}
