"""Does the annotation bear a claim out? True: supported; False: contradicted; None: not checkable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from medproof.scoring.claims.annotation import Annotation, Place, counted_places
from medproof.scoring.claims.claim import Claim
from medproof.scoring.claims.lexicon import EXCLUSIVE, FINDINGS, REGIONS, around, chain, view_group
from medproof.scoring.claims.numbers import MANY, interval

_OFF_MIDLINE = 0.05
"""A centre nearer to a midline, as a share of the width or height, is on neither side."""
_TOLERANCE = 0.15
"""Of a size in millimetres or per cent."""
_NATURES = frozenset({"benign", "malignant"})
_WORDS = {"horizontal": ("left", "right"), "vertical": ("upper", "lower", "anterior", "posterior")}


def verdict(claim: Claim, known: Annotation, answer: str) -> bool | None:
    """answer: the option that is right as the item was asked. A denial turns the verdict round."""
    held = _held(claim, known, answer)
    return None if held is None else held is claim.positive


def _held(claim: Claim, known: Annotation, answer: str) -> bool | None:
    """Whether what is named, denied or not, is so."""
    match claim.kind:
        case "conclusion":
            return claim.value == answer
        case "modality":
            return None if known.modality is None else claim.value == known.modality
        case "view":
            return _among(claim.value, known.views, view_group)
        case "region":
            return _region(claim.value, known.region)
        case "grade":
            return _grade(claim.value, known)
        case "count":
            return _count(claim, known)
        case "size":
            return _size(claim.value, known)
        case "side":
            return _side(claim.value, claim.about, known)
        case "finding":
            return _denied_finding(claim, known) if not claim.positive else _asserted_finding(claim.value, known)


def _among(value: str, true: frozenset[str], scale: Callable[[str], str | None]) -> bool | None:
    """Values of one scale exclude each other."""
    if value in true:
        return True
    return False if any(scale(other) == scale(value) for other in true) else None


def _region(said: str, true: str | None) -> bool | None:
    if true is None or true in tuple(around(said))[1:]:
        return None  # a part of what is annotated may or may not be what is shown
    return said in around(true)


def _grade(said: str, known: Annotation) -> bool | None:
    if said == "malignant" and "abnormality" in known.absent:
        return False
    return _among(said, known.grades, _scale)


def _scale(grade: str) -> str:
    if grade in _NATURES:
        return "nature"
    return "symmetry" if "symmetric" in grade else grade.rpartition(" ")[0]


def _asserted_finding(said: str, known: Annotation) -> bool | None:
    found = _finding(said, known)
    home = FINDINGS[said].home if said in FINDINGS else None
    if found is not None or home is None or known.region is None or known.region not in REGIONS:
        return found
    return None if home in around(known.region) or known.region in around(home) else False


def _denied_finding(claim: Claim, known: Annotation) -> bool | None:
    """That a finding is absent where it cannot be is no claim about the image."""
    return _finding_there(claim, known) if claim.about else _finding(claim.value, known)


def _finding(said: str, known: Annotation) -> bool | None:
    if any(said in chain(name) for name in known.present):
        return True
    if any(name in chain(said) for name in known.absent) or _excluded(said, known.present):
        return False
    return None


def _excluded(said: str, present: Iterable[str]) -> bool:
    """Whether it is another one of a group of which something present is."""
    mine = set(chain(said))
    return any(
        mine & group and (theirs := set(chain(name)) & group) and not mine & theirs
        for group in EXCLUSIVE
        for name in present
    )


def _finding_there(claim: Claim, known: Annotation) -> bool | None:
    """A finding denied for one side or region only."""
    place = claim.about or ""
    if any(name in chain(claim.value) for name in known.absent):
        return False
    found = [name for name in known.present if claim.value in chain(name)]
    if place in REGIONS:
        whole = known.region is not None and place in around(known.region)
        homes = (FINDINGS[name].home for name in found if name in FINDINGS)
        return True if found and (whole or any(home and place in around(home) for home in homes)) else None
    return True if found and _side(place, claim.value, known) is True else None


def _count(claim: Claim, known: Annotation) -> bool | None:
    thing, said = claim.about, claim.value
    if thing == "cell":
        return None
    if thing is not None and any(name in chain(thing) for name in known.absent):
        return False
    number = known.counts.get(thing) if thing is not None else None
    if number is None and thing is not None:
        number = counted_places(known.places, thing) or None
    if number is None and known.count is not None and (thing is None or _about_subject(thing, known)):
        number = known.count
    if number is None:
        return None
    return number > 1 if said == MANY else number == int(said)


def _about_subject(thing: str, known: Annotation) -> bool:
    subjects = known.subjects or frozenset({"lesion", "white blood cell"} if known.modality == "Microscopy" else ())
    return any(thing in chain(subject) for subject in subjects)


def _size(said: str, known: Annotation) -> bool | None:
    low, high, unit = interval(said)
    for size in known.sizes:
        least, most, other = interval(size)
        if other == unit:
            return _within((low, high), (least, most))
    lesions = [place for place in known.places if "lesion" in chain(place.label)]
    if len(lesions) != 1:
        return None
    place = lesions[0]
    if unit == "%":
        return False if low > 100 * place.share * (1 + _TOLERANCE) else None
    if known.spacing is None:
        return None
    return _within((low, high), (place.longest * known.spacing, place.diagonal * known.spacing))


def _within(said: tuple[float, float], true: tuple[float, float]) -> bool | None:
    """True inside, False apart, None where they overlap; up to the tolerance."""
    least, most = true[0] * (1 - _TOLERANCE), true[1] * (1 + _TOLERANCE)
    if said[0] > most or said[1] < least:
        return False
    return True if said[0] >= least and said[1] <= most else None


def _side(said: str, about: str | None, known: Annotation) -> bool | None:
    frame, place = _framed(said)
    if about == "eye":
        return None if known.eye is None or place not in ("left", "right") else place == known.eye
    others = about is not None and not _is_target(about, known)
    patient = [side for side in known.where if side.startswith("patient ")]
    if not frame:
        frame = "patient" if patient and not others else "image"
    boxes = [p for p in known.places if about is None or about in chain(p.label) or about == p.label]
    if about is None:
        boxes = [p for p in boxes if not known.subjects or any(_related(p.label, s) for s in known.subjects)]
    framed = [side for side in known.where if (side in patient) == (frame == "patient")]
    told = {_compared(place, _framed(side)[1]) for side in framed} - {None} if not others else set()
    if not told and boxes and (frame == "image" or known.convention):
        told = set(_against_boxes(place, boxes, known.convention if frame == "patient" else None))
    return told.pop() if len(told) == 1 else None


def _is_target(about: str, known: Annotation) -> bool:
    return any(_related(about, name) for name in known.subjects | known.present)


def _related(one: str, other: str) -> bool:
    return one in chain(other) or other in chain(one)


def _framed(side: str) -> tuple[str, str]:
    first, _, rest = side.partition(" ")
    return (first, rest) if first in ("patient", "image") else ("", side)


def _compared(said: str, true: str) -> bool | None:
    """Every part that is said must be so: "left" of an upper left is, "upper right" is not."""
    if said == true:
        return True
    held: list[bool | None] = []
    for words in _WORDS.values():
        mine, theirs = ([word for word in words if word in side.split()] for side in (said, true))
        if mine:
            held.append(None if not theirs else mine == theirs)
    if said in ("both", "centre") and true not in ("both", "centre"):
        return False if said == "both" else None
    return False if False in held else None if None in held or not held else True


def _against_boxes(said: str, boxes: Sequence[Place], convention: str | None) -> list[bool | None]:
    """convention: for sides of the patient, whose left is on the right of the picture; else None."""
    xs = [1 - p.x if convention else p.x for p in boxes]
    if said == "both":
        return [min(xs) < 0.5 < max(xs)]
    if said == "centre":
        return [_central(max(abs(p.x - 0.5), abs(p.y - 0.5))) for p in boxes]
    top, bottom = ("anterior", "posterior") if convention == "axial" else ("upper", "lower")
    true = [f"{_part(p.y, top, bottom)} {_part(x, 'left', 'right')}" for x, p in zip(xs, boxes, strict=True)]
    return [_compared(said, side) for side in true]


def _central(off: float) -> bool | None:
    return True if off <= 1 / 6 else False if off >= 1 / 4 else None


def _part(share: float, low: str, high: str) -> str:
    return "" if abs(share - 0.5) < _OFF_MIDLINE else low if share < 0.5 else high
