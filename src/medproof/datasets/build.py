"""Annotated rows -> multiple-choice Items, balanced so that a blind reader is near chance.

Per kind and group (see `questions`) and per split: rare answers are left out, over-frequent families thinned, options
drawn by `balance.draw_options`, the right letter dealt out evenly. Every draw is seeded by the run seed and the item id
or group, so the order of rows changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from medproof.datasets import position
from medproof.datasets.balance import choose_k, draw_options, family_cap, thin
from medproof.datasets.corpus import Row
from medproof.datasets.questions import DEFAULT_KINDS, KINDS, Kind, Truth
from medproof.datasets.vocabulary import canonical, family, spoken
from medproof.errors import UserError
from medproof.records import Evidence, Item
from medproof.seeds import derive_seed, rng

MIN_TRUE = 4
"""An answer that is right less often than this where it is learnt (train, else test) is neither asked nor offered."""


@dataclass(frozen=True)
class _Candidate:
    row: Row
    kind: Kind
    truth: Truth

    @property
    def id(self) -> str:
        return f"{self.row.id}/{self.kind.slug}"


def build_items(
    rows: Iterable[Row], *, kinds: Collection[str] = DEFAULT_KINDS, seed: int = 0
) -> tuple[list[Item], list[str]]:
    """Items sorted by id, and notes on what was left out and why (one line per group and split).

    `kinds`: slugs of `questions.KINDS`. An item's id is "<row id>/<kind>". Raises UserError for an unknown kind.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise UserError(f"unknown question kind {unknown[0]!r}: choose from {', '.join(KINDS)}")
    groups: defaultdict[tuple[str, str], list[_Candidate]] = defaultdict(list)
    for row in rows:
        for slug in kinds:
            truth = KINDS[slug].truth(row)
            if truth is not None:
                groups[slug, truth.group].append(_Candidate(row, KINDS[slug], truth))
    items: list[Item] = []
    notes: list[str] = []
    for key in sorted(groups):
        made, remarks = _build_group("/".join(key), groups[key], seed)
        items += made
        notes += remarks
    return sorted(items, key=lambda item: item.id), notes


def _build_group(name: str, candidates: list[_Candidate], seed: int) -> tuple[list[Item], list[str]]:
    known, notes = _drop_rare(name, candidates)
    k = choose_k(Counter(c.truth.answer for c in known))
    if k == 0:
        return [], [*notes, f"{name}: {len(known)} rows not asked: fewer than two answers that exclude each other"]
    items: list[Item] = []
    for split in ("train", "test"):
        part = [c for c in known if c.row.split == split]
        made, remarks = _build_split(f"{name}/{split}", part, k, seed)
        items += made
        notes += remarks
    return items, notes


def _drop_rare(name: str, candidates: list[_Candidate]) -> tuple[list[_Candidate], list[str]]:
    learnt = [c for c in candidates if c.row.split == "train"] or candidates
    counts = Counter(c.truth.answer for c in learnt)
    rare = sorted({c.truth.answer for c in candidates if counts[c.truth.answer] < MIN_TRUE})
    if not rare:
        return candidates, []
    known = [c for c in candidates if c.truth.answer not in rare]
    left = len(candidates) - len(known)
    note = f"{name}: {left} rows not asked: answers true fewer than {MIN_TRUE} times: {', '.join(rare)}"
    return known, [note]


def _build_split(name: str, part: list[_Candidate], k: int, seed: int) -> tuple[list[Item], list[str]]:
    if not part:
        return [], []
    counts = Counter(c.truth.answer for c in part)
    k = min(k, len({family(answer) for answer in counts}))
    if k < 2:
        return [], [f"{name}: {len(part)} rows not asked: one answer only"]
    shuffled = sorted(part, key=lambda c: derive_seed(seed, c.id, "deal"))
    keep = thin([c.id for c in shuffled], {c.id: c.truth.answer for c in part}, family_cap(counts, k))
    dealt = [c for c in shuffled if c.id in keep]
    counts = Counter(c.truth.answer for c in dealt)
    items = []
    for place, candidate in enumerate(sorted(dealt, key=lambda c: c.truth.answer)):
        # sorted by answer and dealt in turn, so each letter is right equally often, within each answer too
        items.append(_item(candidate, _options(candidate, counts, k, place % k, seed), seed))
    if len(dealt) == len(part):
        return items, []
    return items, [f"{name}: {len(part) - len(dealt)} of {len(part)} rows not asked: answer too frequent"]


def _options(candidate: _Candidate, counts: Counter[str], k: int, letter: int, seed: int) -> list[str]:
    generator = rng(seed, candidate.id, "options")
    answer = candidate.truth.answer
    wrong = [option for option in draw_options(counts, answer, k, generator) if option != answer]
    wrong = [wrong[i] for i in generator.permutation(len(wrong))]
    return [*wrong[:letter], answer, *wrong[letter:]]


def _item(candidate: _Candidate, options: list[str], seed: int) -> Item:
    row, kind, truth = candidate.row, candidate.kind, candidate.truth
    stem = kind.stems[int(rng(seed, candidate.id, "stem").integers(len(kind.stems)))]
    return Item(
        id=candidate.id,
        image=row.image,
        frame=row.frame,
        width=row.width,
        height=row.height,
        case=row.id,
        patient=row.patient,
        modality=row.modality,
        anatomy=row.anatomy,
        question_type=kind.question_type,
        stage=kind.stage,
        question=stem.format(subject=truth.subject),
        options=tuple(options),
        answer=truth.answer,
        evidence=_evidence(row),
        facts=_facts(row, kind, truth),
        split=row.split,
        source=row.repository,
        license=row.license,
        license_class=row.license_class,
    )


def _evidence(row: Row) -> Evidence | None:
    if not row.boxes and row.mask is None:
        return None
    return Evidence(boxes=row.boxes, mask=row.mask, mask_classes=row.mask_classes)


def _facts(row: Row, kind: Kind, truth: Truth) -> dict[str, str]:
    """What a rationale may state: acquisition always; the finding and its place only where the question is about it."""
    facts = {"modality": spoken(canonical(row.modality)), "conclusion": truth.answer}
    if row.anatomy:
        facts["region"] = spoken(canonical(row.anatomy))
    place = position.target(row)
    if kind.about == "thing" and place:
        facts |= {"finding": place[0], "where": position.phrase(row, place[1])}
    if kind.about == "label":
        facts["finding"] = spoken(canonical(row.label or truth.answer))
        if place and place[0] in position.LESIONS:
            facts["where"] = position.phrase(row, place[1])
    return facts
