"""What is annotated about an item, in the values of the grammar: the facts are read by the grammar itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from medproof.records import Item
from medproof.scoring.claims.claim import Claim
from medproof.scoring.claims.grammar import claims
from medproof.scoring.claims.lexicon import FINDINGS, chain

_YES_NO = frozenset({"yes", "no"})
_BOOLEANS = {
    "diabetic_macular_edema": ("macular edema", "no macular edema"),
    "contrast": ("with contrast", "without contrast"),
}
"""Annotation fields that are true or false, in words."""
_STATED = {"modality": "modality", "region": "region", "finding": "finding", "where": "side", "count": "count"}
"""Kinds of claim by the facts that a rationale may state."""


@dataclass(frozen=True)
class Place:
    """One box of the evidence. x, y: its centre, as shares of width and height; share: its area, of the image."""

    label: str
    x: float
    y: float
    share: float
    longest: float
    diagonal: float


@dataclass(frozen=True)
class Annotation:
    """Values are those of claims. None and empty: not annotated.

    present, absent: findings. where: sides of the finding, as the facts say it, "image " or "patient " before them.
    subjects: findings that `where` and an unnamed count are about. convention: "axial" or "frontal", as of the bench.
    spacing: mm per pixel. names: findings that the lexicon lacks. stated: kinds of claim that a rationale of the item
    should make: those its facts hold, and the conclusion.
    """

    modality: str | None
    region: str | None
    views: frozenset[str]
    present: frozenset[str]
    absent: frozenset[str]
    grades: frozenset[str]
    sizes: tuple[str, ...]
    where: tuple[str, ...]
    eye: str | None
    subjects: frozenset[str]
    counts: Mapping[str, int]
    count: int | None
    places: tuple[Place, ...]
    convention: str | None
    spacing: float | None
    names: tuple[str, ...]
    stated: frozenset[str]

    def mirrored(self) -> Annotation:
        """Of the image mirrored left to right."""
        swap = {"left": "right", "right": "left"}
        where = tuple(" ".join(swap.get(word, word) for word in side.split()) for side in self.where)
        eye = None if self.eye is None else swap.get(self.eye, self.eye)
        return replace(self, where=where, eye=eye, places=tuple(replace(p, x=1 - p.x) for p in self.places))


def annotation(item: Item) -> Annotation:
    """Read from facts, evidence boxes, modality, anatomy, and the answer; never from the pixels."""
    facts, fields = item.facts, _fields(item)
    names = _unknown(item, fields)
    concluded = (
        "" if facts.get("conclusion", item.answer).casefold() in _YES_NO else facts.get("conclusion", item.answer)
    )
    said = [facts.get("finding", ""), fields.get("label", ""), *fields.get("findings", "").split(";"), concluded]
    said += [words[fields[name] != "true"] for name, words in _BOOLEANS.items() if name in fields]
    said += [fields.get("sequence", ""), fields.get("view", ""), _subject(item)]
    read = [claim for text in said if text for claim in claims(text.strip(), names=names)]
    boxes = item.evidence.boxes if item.evidence is not None else ()
    labelled = [claim for box in boxes for claim in claims(box.label, names=names) if claim.kind == "finding"]
    counts = {name.removeprefix("counts."): int(n) for name, n in fields.items() if name.startswith("counts.")}
    present = {c.value for c in (*read, *labelled) if c.kind == "finding" and c.positive}
    present |= {name for name, n in counts.items() if n and name in FINDINGS}
    absent = {c.value for c in read if c.kind == "finding" and not c.positive}
    absent |= {name for name, n in counts.items() if not n} | _alternatives(item, present, names)
    grades = {c.value for c in read if c.kind == "grade" and c.positive}
    natures = (FINDINGS[wide].nature for name in present for wide in chain(name) if wide in FINDINGS)
    sides = [c for c in _read([facts.get("where", ""), concluded], names) if c.kind == "side"]
    subjects = _values(_read([facts.get("finding", ""), facts.get("subject", "")], names), "finding")
    orientation = facts.get("orientation")
    return Annotation(
        modality=next(iter(_values(_read([item.modality], ()), "modality")), None),
        region=next(iter(_values(_read([facts.get("region", item.anatomy or "")], ()), "region")), None),
        views=_values(read, "view") | ({orientation} if orientation == "axial" else set()),
        present=frozenset(present),
        absent=frozenset(absent),
        grades=frozenset(grades | {nature for nature in natures if nature}),
        sizes=tuple(c.value for c in read if c.kind == "size"),
        where=tuple(c.value for c in sides if c.about != "eye"),
        eye=_eye(sides, fields),
        subjects=frozenset(subjects),
        counts=counts,
        count=int(facts["count"]) if facts.get("count", "").isdigit() else None,
        places=_places(item, names),
        convention=orientation,
        spacing=float(facts["spacing_mm"]) if "spacing_mm" in facts else None,
        names=names,
        stated=frozenset({"conclusion"} | {kind for fact, kind in _STATED.items() if fact in facts}),
    )


def _fields(item: Item) -> dict[str, str]:
    """The annotation fields that the bench stores with an item."""
    return {str(k): str(v) for k, v in json.loads(item.facts.get("annotation", "{}")).items()}


def _read(texts: Iterable[str], names: tuple[str, ...]) -> list[Claim]:
    return [claim for text in texts if text for claim in claims(text, names=names)]


def _values(found: Iterable[Claim], kind: str) -> frozenset[str]:
    return frozenset(claim.value for claim in found if claim.kind == kind)


_PRESENCE = frozenset({"finding_present", "reported_finding", "structure_present"})
"""Tasks of the bench that ask whether their subject is there; others ask about a lesion that is."""


def _subject(item: Item) -> str:
    """What such a task asked about, as its answer says it."""
    subject = item.facts.get("subject", "")
    if not subject or item.id.rpartition("/")[2] not in _PRESENCE:
        return ""
    return {"yes": subject, "no": f"no {subject}"}.get(item.answer, "")


def _unknown(item: Item, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Diagnoses and findings of this item that the lexicon does not know."""
    texts = {item.facts.get("finding", ""), fields.get("label", "")}
    if item.question_type == "Disease Diagnosis":
        texts |= set(item.options)
    plain = {text.casefold().strip() for text in texts} - _YES_NO - {""}
    return tuple(sorted(text for text in plain if not any(c.kind in ("finding", "grade") for c in claims(text))))


def _alternatives(item: Item, present: set[str], names: tuple[str, ...]) -> set[str]:
    """Findings that the other options of a diagnosis name: they exclude the right one."""
    if item.question_type != "Disease Diagnosis" or item.answer.casefold() in _YES_NO:
        return set()
    related = {wide for name in present for wide in chain(name)}
    others = (c for option in item.options if option != item.answer for c in claims(option, names=names))
    return {
        c.value
        for c in others
        if c.kind == "finding" and c.positive and c.value not in related and not present & set(chain(c.value))
    }


def _eye(sides: Iterable[Claim], fields: Mapping[str, str]) -> str | None:
    said = next((c.value for c in sides if c.about == "eye"), fields.get("laterality", ""))
    return next((side for side in ("left", "right") if side in said), None)


def _places(item: Item, names: tuple[str, ...]) -> tuple[Place, ...]:
    if item.evidence is None or item.width is None or item.height is None:
        return ()
    found = []
    for box in item.evidence.boxes:
        x0, y0, x1, y1 = box.xyxy
        wide, tall = x1 - x0, y1 - y0
        label = next((c.value for c in claims(box.label, names=names) if c.kind in ("finding", "region")), box.label)
        x, y = (x0 + x1) / 2 / item.width, (y0 + y1) / 2 / item.height
        share = wide * tall / (item.width * item.height)
        found.append(Place(label, x, y, share, max(wide, tall), (wide**2 + tall**2) ** 0.5))
    return tuple(found)


def counted_places(places: Iterable[Place], thing: str) -> int:
    """How many boxes hold the thing, or something that is a kind of it."""
    return sum(n for label, n in Counter(place.label for place in places).items() if thing in chain(label))
