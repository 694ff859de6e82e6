"""Sides and quadrants: "left", "upper left", "centre", "both", after "patient" or "image" where the text says whose."""

from __future__ import annotations

import re
from collections.abc import Iterator

_V = r"(?:upper|lower|top|bottom|superior|inferior|anterior|posterior)"
_H = r"(?:left|right)"
_PART = r"(?:part|half|third|portion|quadrant|quarter|area|edge|border|corner|region|side|aspect|field)"
_LOBED = r"(?!\s+(?:lobes?|zones?|lungs?|pole|limb|limit|extremity|abdomen|back|arm|leg|lip|airway|eyelid))"
_NEVER_RIGHT = (
    r"(?!\s+(?:answers?|options?|choices?|diagnos[ie]s|letter|label|conclusion|one|way|away|now|here|there|angles?|to"
    r"|about|after|before|heart failure|(?:coronary )?(?:ventric|atri|main|coronary|bundle)\w*))"
)
_NEVER_LEFT = r"(?!\s+(?:ventric|atri|main|coronary|bundle|over\b|out\b|behind\b|untreated|alone)\w*)"
_SIDE = re.compile(
    rf"(?P<whose>patient(?:'s)?\s+|patient's own\s+|anatomical\s+)?"
    rf"(?:(?P<v1>{_V}){_LOBED}[\s-]+(?P<h1>{_H})(?!-?over)"
    rf"|(?P<h2>{_H})(?:-sided|[\s-]hand)?(?:,\s*|[\s-]+)(?P<v2>{_V}){_LOBED}"
    rf"|(?P<right>right){_NEVER_RIGHT}(?:[\s-](?:hand|sided|wards?))?"
    rf"|(?P<left>left){_NEVER_LEFT}(?:[\s-](?:hand|sided|wards?))?"
    rf"|(?P<v3>{_V})(?=\s+{_PART}\b)"
    rf"|(?P<v4>top|bottom)(?=\s+of\s+the\s+(?:image|picture|frame|field|radiograph|film|slice|scan))"
    rf"|(?P<both>bilateral(?:ly)?|both\s+(?:lungs?|sides|breasts|eyes|hemispheres|kidneys|hemithoraces|lower lobes"
    r"|upper lobes|lung bases|bases))"
    rf"|(?P<centre>cent(?:re|er)|middle|central\s+{_PART}|centrally)"
    rf"(?:(?=\s+(?:part\s+)?of\s+the\s+(?:image|picture|frame|field|slice|radiograph|scan))"
    r"|(?<=centrally)|(?<=in the centre)|(?<=in the center)|(?<=in the middle)(?!\s+of|\s+\w+\s+(?:lobe|ear))"
    rf"|(?<=part)|(?<=portion)|(?<=area)|(?<=region)))\b"
)
_NOT_BEFORE = re.compile(r"\b(?:is|are|was|were|has|have|had|been|be|nothing|what|much|all|that's|not|quite|lies)\s+$")
_OF_IMAGE = re.compile(
    rf"\s*(?:{_PART}|hand side)?\s*of\s+the\s+(?:image|picture|frame|field|film|slice|photo\w*|scan|view)"
)
_OF_PATIENT = re.compile(rf"\s*(?:{_PART}|hand side)?\s*of\s+the\s+(?:patient|body)")
_ORGAN = re.compile(
    r"\s*(?:(?:upper|lower|middle|frontal|temporal|parietal|occipital|lung|mid|chest|basal|apical|hilar|perihilar|outer"
    r"|inner|cerebellar|cerebral|costophrenic|hemi\w*|side\w*)\s+)?"
    r"(?:lobe|lungs?|breast|eye|kidney|hemithorax|hemisphere|adrenal|ovary|hip|knee|shoulder|arm|leg|hand|foot|base|apex"
    r"|hilum|zone|pleura\w*|wall|axilla|thigh|cerebell\w*|angle|pleural|hemidiaphragm|diaphragm|optic|macula)\b"
)
_NAMES = {"top": "upper", "superior": "upper", "bottom": "lower", "inferior": "lower"}


def sides(lower: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, value): "left", "patient left", "image upper left", "both", "centre", ..."""
    for match in _SIDE.finditer(lower):
        start, end = match.span()
        if not _bounded(lower, start, end):
            continue
        horizontal = match["h1"] or match["h2"] or match["left"] or match["right"]
        vertical = match["v1"] or match["v2"] or match["v3"] or match["v4"]
        if horizontal and not vertical and not match["whose"] and _no_place(lower, start, end):
            continue
        if match["both"] or match["centre"]:
            place = "both" if match["both"] else "centre"
        else:
            place = " ".join(filter(None, (_NAMES.get(vertical, vertical) if vertical else None, horizontal)))
        yield start, end, f"{_frame(lower, match, place)}{place}"


def _bounded(lower: str, start: int, end: int) -> bool:
    return not (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum())


def _no_place(lower: str, start: int, end: int) -> bool:
    """ "is left", "nothing left", "all right": unless a noun follows that has sides."""
    return bool(_NOT_BEFORE.search(lower, 0, start)) and not (_ORGAN.match(lower, end) or _OF_IMAGE.match(lower, end))


def _frame(lower: str, match: re.Match[str], place: str) -> str:
    if place in ("both", "centre"):
        return ""
    end = match.end()
    if match["whose"] or _OF_PATIENT.match(lower, end):
        return "patient "
    if match["v4"] or _OF_IMAGE.match(lower, end):
        return "image "
    return "patient " if _ORGAN.match(lower, end) and (match["left"] or match["right"]) else ""
