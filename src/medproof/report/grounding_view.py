"""Boxes: the table of overlaps, and a few pictures with the annotated and the chosen box."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from medproof.report import svg
from medproof.report.cases import Source
from medproof.report.gallery import NO_IMAGE, Gallery
from medproof.report.probes_view import Line
from medproof.report.run_view import RunView
from medproof.report.tables import Cell
from medproof.report.values import number_cell, share_cell
from medproof.report.wording import MISSING, in_words
from medproof.scoring.boxes import XYXY
from medproof.scoring.grounding import SIZES, Located, is_box_item, locate
from medproof.scoring.scored import CLEAN

COLUMNS = (
    "Mean IoU",
    "IoU ≥ .25",
    "IoU ≥ .5",
    "IoU ≥ .75",
    "F1 at .5",
    "Pointing",
    "Other side",
    "Answered and grounded",
    "Right, ungrounded",
)
BASELINES = {"random_option": "Option at random", "random_box": "Box at random", "centre_box": "Box in the centre"}
MOST = 8


@dataclass(frozen=True)
class BoxPicture:
    """One question: its picture with the boxes drawn, and per run (run, status, words)."""

    item: str
    question: str
    picture: Markup
    replies: tuple[tuple[RunView, str, str], ...]


SEEN = (CLEAN, "blank", "noimage", "shuffled")


def perturbed_lines(runs: Sequence[RunView]) -> list[Line]:
    """Per run: every condition that is not in `grounding_lines`."""
    return [
        Line(run, in_words(key), key, _cells(found))
        for run in runs
        for key, found in ((run.summary.get("grounding") or {}).get("conditions") or {}).items()
        if key not in SEEN
    ]


def grounding_lines(runs: Sequence[RunView]) -> list[Line]:
    """Per run: clean and the images that show nothing, clean by size of the finding, baselines that see no image.

    Baselines depend on the questions alone: runs of the same questions share them.
    """
    lines = []
    told: list[dict[str, Any]] = []
    for run in runs:
        block = run.summary.get("grounding")
        if not block:
            continue
        found = block["conditions"]
        lines += [Line(run, in_words(key), key, _cells(found[key])) for key in SEEN if key in found]
        for size in SIZES:
            found = block["by_size"][size]
            if found["iou"]["n"]:
                lines.append(Line(run, f"Clean image, {size} findings", f"n = {found['iou']['n']}", _cells(found)))
        if block["baselines"] in told:
            continue
        told.append(block["baselines"])
        for name, words in BASELINES.items():
            found = block["baselines"][name]
            empty = (Cell(MISSING),) * (len(COLUMNS) - 3)
            cells = (number_cell(found["iou"]), Cell(MISSING), share_cell(found["acc"]), *empty)
            lines.append(Line(run, words, "never sees the image", cells))
    return lines


def _cells(found: dict[str, Any]) -> tuple[Cell, ...]:
    shares = [*found["acc"].values(), found["f1"], found["pointing"], found["laterality"]]
    steps = [found.get(name) for name in ("answered_and_grounded", "ungrounded_correct")]
    return (
        number_cell(found["iou"]),
        *map(share_cell, shares),
        *(share_cell(step, count=True) for step in steps),
    )


def box_pictures(sources: Sequence[Source], runs: Sequence[RunView]) -> list[BoxPicture]:
    """At most `MOST` questions that ask for a box, a fixed choice: as many of the best as of the worst overlaps.

    sources and runs: the same runs. Questions without a stored picture are passed over.
    """
    gallery = Gallery()
    first = sources[0].scored if sources else None
    items = [item for item in first.items.values() if is_box_item(item)] if first else []
    found = [(item, [_read(source, item.id) for source in sources]) for item in items]
    shown = [(item, replies) for item, replies in found if replies[0] is not None]
    shown.sort(key=lambda pair: hashlib.sha256(pair[0].id.encode()).digest())
    good = [pair for pair in shown if pair[1][0] is not None and pair[1][0].iou >= 0.5]
    poor = [pair for pair in shown if pair not in good]
    half = max(MOST // 2, MOST - len(poor))
    chosen = good[:half]
    chosen += poor[: MOST - len(chosen)]
    return [
        BoxPicture(item.id, item.question, picture, tuple(_reply(run, one) for run, one in zip(runs, replies) if one))
        for item, replies in chosen
        if (picture := _picture(sources[0], runs, replies, gallery, item.id)) is not None
    ]


def _read(source: Source, item_id: str) -> Located | None:
    outcome, response = source.outcome(item_id, CLEAN), source.response(item_id, CLEAN)
    if outcome is None or response is None or outcome.status == "error":
        return None
    return locate(source.scored.items[item_id], outcome, response)


def _reply(run: RunView, one: Located) -> tuple[RunView, str, str]:
    return run, "yes" if one.iou >= 0.5 else "no", f"IoU {one.iou:.2f}" if one.said else "no box"


def _picture(
    source: Source, runs: Sequence[RunView], replies: Sequence[Located | None], gallery: Gallery, item_id: str
) -> Markup | None:
    response, located = source.response(item_id, CLEAN), replies[0]
    if response is None or located is None or response.image_sha256 == NO_IMAGE:
        return None
    look = gallery.look(response.image_sha256, source.load)
    if look.pixels is None:
        return None
    width, height = located.size
    rects = [_rect(box, "gold under") + _rect(box, "gold over") for box in located.gold]
    for run, one in zip(runs, replies):
        rects += [_rect(box, "said under") + _rect(box, f"said {run.style}") for box in (one.said if one else ())]
    data = base64.b64encode(look.png).decode()
    uri = f"data:image/png;base64,{data}"
    image = svg.tag("image", href=uri, width=width, height=height, preserveAspectRatio="none")
    return svg.tag(
        "svg",
        svg.tag("title", f"{item_id}: annotated and chosen box"),
        image,
        *rects,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="boxed",
    )


def _rect(box: XYXY, class_: str) -> Markup:
    x0, y0, x1, y1 = box
    return svg.tag("rect", x=x0, y=y0, width=x1 - x0, height=y1 - y0, class_=class_)
