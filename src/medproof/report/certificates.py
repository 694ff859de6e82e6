"""Certificates of a run: the block `certified` of report.json, and what the page shows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medproof.report import svg
from medproof.report.run_view import RunView
from medproof.report.step_plot import nice_ticks
from medproof.report.tables import Cell
from medproof.report.wording import MISSING, interval, percent
from medproof.runs.certificates_file import CertificateSet, read_certificates
from medproof.scoring.certified import certified
from medproof.scoring.scored import Scored
from medproof.scoring.summary import plain_json

Json = dict[str, Any]
BASES = {
    "option_argmax": "Likeliest option letter",
    "greedy": "Greedy reply, parsed",
    "sampled": "Sampled reply, parsed",
}


def certified_json(scored: Scored, run: Path) -> Json | None:
    """{"mean_draws", "sets"}: a block of `scoring.certified` for each scheme; None where nothing was certified.

    Beside it `base`, `rounded` and `grey_rms`: what an L2 radius of 1 is as a change per value, in grey levels root
    mean square, on the largest and on the smallest image.
    """
    sets = read_certificates(run)
    if not sets:
        return None
    blocks = [_block(scored, one) for one in sets]
    decisions = sum(block["n"] for block in blocks)
    mean = sum(block["mean_draws"] * block["n"] for block in blocks) / decisions
    result: Json = plain_json({"mean_draws": mean, "sets": blocks})
    return result


def _block(scored: Scored, one: CertificateSet) -> Json:
    images = {item: sha for item, (sha, _, _) in one.pictures.items()}
    sizes = {(height, width) for _, height, width in one.pictures.values()}
    per_unit = sorted(255 / math.sqrt(3 * height * width) for height, width in sizes)
    found = certified(
        one.certificates,
        scored.items,
        blank=_blank(scored, one.base),
        text_prior=scored.meta.get("text_prior"),
        noise_of=images,
        seed=int(scored.meta.get("seed") or 0),
    )
    return {"base": one.base, "rounded": one.rounded, "grey_rms": [per_unit[0], per_unit[-1]], **found}


def _blank(scored: Scored, base: str) -> dict[str, str | None] | None:
    """What the base classifier answers without the picture (and without noise: a blank image has nothing to hide)."""
    outcomes = scored.outcomes.get("blank")
    if not outcomes:
        return None
    if base == "option_argmax":
        return {item: outcome.forced_choice for item, outcome in outcomes.items()}
    return {item: outcome.chosen for item, outcome in outcomes.items()}


COLUMNS = (
    "Certified at r = 0",
    "at r = σ/2",
    "at r = σ",
    "RA*, r = 0",
    "ACR",
    "ACR, grey levels RMS",
    "Abstains",
    "Unparsed",
    "Blank image",
    "Text prior",
    "Draws per decision",
    "n",
)
GROUP_COLUMNS = ("Certified at r = 0", "RA*, r = 0", "ACR", "Abstains", "Blank image", "n")


@dataclass(frozen=True)
class SetView:
    """One scheme on the page: its row, and its rows by modality and question type."""

    name: str
    scheme: str
    cells: tuple[Cell, ...]
    groups: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class CertifiedView:
    run: RunView
    plot: Markup
    legend: tuple[tuple[str, str], ...]
    schemes: tuple[str, ...]
    sets: tuple[SetView, ...]


def certified_views(runs: Sequence[RunView]) -> list[CertifiedView]:
    """The runs that hold certificates."""
    found = []
    for number, run in enumerate(runs):
        blocks = (run.summary.get("certified") or {}).get("sets") or []
        if blocks:
            names = _names(blocks)
            legend = tuple((name, f"run{k % 4}") for k, name in enumerate(names))
            plot = _plot(f"certified-{number}", run.label, blocks, names)
            sets = tuple(map(_view, blocks, names))
            told = tuple(dict.fromkeys(one.scheme for one in sets))
            schemes = told if len(told) == 1 else tuple(f"{one.name}: {one.scheme}" for one in sets)
            found.append(CertifiedView(run, plot, legend, schemes, sets))
    return found


def _names(blocks: Sequence[Json]) -> list[str]:
    """ "σ 0.25", and what else tells the sets apart."""
    names = [f"σ {block['sigma']:g}" for block in blocks]
    for key in ("base", "plan", "bound", "alpha", "rounded"):
        if len(set(names)) < len(names) and len({block[key] for block in blocks}) > 1:
            names = [f"{name}, {key} {block[key]}" for name, block in zip(names, blocks, strict=True)]
    return names


def _view(block: Json, name: str) -> SetView:
    sigma, acr = block["sigma"], block["ACR"]
    low, high = (acr["value"] * per_unit for per_unit in block["grey_rms"])
    grey = f"{low:.3f}" if math.isclose(low, high) else f"{low:.3f} to {high:.3f}"
    missing = f", {block['missing']} missing" if block["missing"] else ""
    cells = (
        _at(block, 0.0),
        _at(block, sigma / 2),
        _at(block, sigma),
        Cell(percent(point_at(block, 0.0)["RA_star"])),
        Cell(f"{acr['value']:.3f}", _bounds(acr)),
        Cell(grey),
        _share(block["abstention"]),
        _share(block["unparsed"]),
        _share(block["blank"]),
        _share(block["text_prior"]),
        Cell(f"{block['mean_draws']:,.0f}"),
        Cell(f"{block['n']}{missing}"),
    )
    scheme = (
        f"{BASES.get(block['base'], block['base'])}{', rounded to 8-bit levels' if block['rounded'] else ''}; "
        f"{block['plan']}, bound {block['bound']}, α {block['alpha']:g} per item"
    )
    parts = [(value, _group(part)) for group in block["by"].values() for value, part in group.items()]
    return SetView(name, scheme, cells, tuple(parts))


def _group(part: Json) -> tuple[Cell, ...]:
    return (
        _at(part, 0.0),
        Cell(percent(point_at(part, 0.0)["RA_star"])),
        Cell(f"{part['ACR']['value']:.3f}", _bounds(part["ACR"])),
        _share(part["abstention"]),
        _share(part["blank"]),
        Cell(str(part["n"])),
    )


def _at(block: Json, radius: float) -> Cell:
    point = point_at(block, radius)
    return Cell(percent(point["certified_accuracy"]), interval(point["band"]))


def point_at(block: Json, radius: float) -> Json:
    """The curve at a radius, from its next point outwards, so never too high; 0 behind its end."""
    found = next((point for point in block["curve"] if point["radius"] >= radius - 1e-12), None)
    return found or {"certified_accuracy": 0.0, "band": None, "RA_star": 0.0}


def _share(block: Mapping[str, Any] | None) -> Cell:
    """A share in a block under `value` or, of a text prior, `accuracy`."""
    if block is None:
        return Cell(MISSING)
    return Cell(percent(block.get("value", block.get("accuracy"))), interval(block.get("ci95")))


def _bounds(block: Mapping[str, Any]) -> str:
    return f"{block['ci95'][0]:.3f} to {block['ci95'][1]:.3f}" if block.get("ci95") else ""


TOP, HEIGHT = 14.0, 240.0
BEYOND = 1.25
"""The plot ends behind the last certificate: a blind model certifies there too."""


def _plot(slug: str, label: str, blocks: Sequence[Json], names: Sequence[str]) -> Markup:
    """Certified accuracy against radius, with its band; dashed below it the part that needs the image; blind levels."""
    largest = BEYOND * (max(block["curve"][-1]["radius"] for block in blocks) or 1.0)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    inside = [svg.line("0%", _y(t), "100%", _y(t), "grid") for t in ticks]
    for k, block in enumerate(blocks):
        inside.append(_band(block["curve"], largest, f"run{k % 4}"))
    levels = {"blank image": blocks[0]["blank"], "text prior": blocks[0]["text_prior"]}
    blind = [
        (name, share, f"level level{k}") for k, name in enumerate(levels) if (share := _blind(levels[name])) is not None
    ]
    for place, (name, level, style) in enumerate(sorted(blind, key=lambda line: -line[1])):
        inside.append(svg.line("0%", _y(level), "100%", _y(level), style))
        above_or_below = _y(level) + (14 if place else -5)  # the two may be one line
        inside.append(svg.text(f"{name} {percent(level, 0)}", "97%", above_or_below, "t-level", anchor="end"))
    for k, block in enumerate(blocks):
        inside.extend(_steps(block["curve"], "certified_accuracy", largest, f"path run{k % 4}"))
        inside.extend(_steps(block["curve"], "RA_star", largest, f"path blind run{k % 4}"))
    marks = [t for t in nice_ticks(0.0, largest) if t <= largest]
    inside.extend(svg.text(f"{t:g}", svg.pct(t / largest), _y(0) + 18, "t-axis", anchor="middle") for t in marks)
    inside.append(svg.text("L2 radius, pixels in [0, 1]", "50%", _y(0) + 38, "t-axis", anchor="middle"))
    axis = [svg.text(percent(t, 0), "9.5%", _y(t) + 4, "t-axis", anchor="end") for t in ticks]
    desc = "; ".join(
        f"{name}: "
        + ", ".join(f"{percent(point_at(b, r)['certified_accuracy'])} at {r:.3g}" for r in (0.0, b["sigma"]))
        for name, b in zip(names, blocks, strict=True)
    )
    title = f"{label}: certified accuracy by radius"
    return svg.figure(slug, title, desc, TOP + HEIGHT + 46, *axis, svg.panel(0.115, 0.855, *inside))


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def _blind(level: Mapping[str, Any] | None) -> float | None:
    return None if level is None else level.get("value", level.get("accuracy"))


def _band(curve: Sequence[Json], largest: float, style: str) -> Markup:
    """A curve is a step down behind each of its radii, so its band is a row of rectangles."""
    boxes = []
    for (low, high), x0, x1 in _flat(curve, "band", largest):
        size = HEIGHT * (high - low)
        boxes.append(
            svg.tag("rect", x=svg.pct(x0), y=_y(high), width=svg.pct(x1 - x0), height=size, class_=f"band {style}")
        )
    return Markup("").join(boxes)


def _steps(curve: Sequence[Json], name: str, largest: float, style: str) -> list[Markup]:
    """The curve as a line, down to 0 at its end; nothing where it is not known, or certifies no radius above 0."""
    pieces = _flat(curve, name, largest)
    if not pieces or any(point[name] is None for point in curve):
        return []
    lines = [svg.line(svg.pct(x0), _y(value), svg.pct(x1), _y(value), style) for value, x0, x1 in pieces]
    ends = [*(value for value, _, _ in pieces[1:]), 0.0]
    drops = [
        svg.line(svg.pct(x1), _y(value), svg.pct(x1), _y(end), style)
        for (value, _, x1), end in zip(pieces, ends, strict=True)
    ]
    return [*lines, *drops]


def _flat(curve: Sequence[Json], name: str, largest: float) -> list[tuple[Any, float, float]]:
    """(value, from, to) of the stretches of equal value; the value at a point holds from the one before it on."""
    pieces: list[tuple[Any, float, float]] = []
    for before, point in pairwise(curve):
        start, end = before["radius"] / largest, point["radius"] / largest
        if pieces and pieces[-1][0] == point[name]:
            start = pieces.pop()[1]
        pieces.append((point[name], start, end))
    return pieces
