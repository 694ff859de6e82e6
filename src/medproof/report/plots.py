"""The plots of the report as inline SVG, made by hand.

Not plotly: plotly.js inline weighs 4.5 MB, more than all else on the page; it injects style sheets and needs script to
draw at all, so nothing would show in print or without script; and its figures carry no text for assistive technology.
Four small plots do not earn that. Every function here returns one self-describing `<svg>` whose numbers also stand in a
table beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from medproof.report import svg
from medproof.report.step_plot import nice_ticks
from medproof.report.wording import percent

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
Bounds = tuple[float, float] | None
MANY_X = 8
NEAR = 0.06
"""Of the width: x labels closer than this would run into each other."""


@dataclass(frozen=True)
class Point:
    """One accuracy with its interval; `style` is the run's CSS class, `marker` its shape."""

    name: str
    value: float
    ci: Bounds
    chance: float | None
    style: str
    marker: str


@dataclass(frozen=True)
class Row:
    """A condition with one point per run."""

    label: str
    points: tuple[Point, ...]


def intervals(slug: str, title: str, rows: Sequence[Row]) -> Markup:
    """Dot and 95 % whisker per run under each condition, on 0 to 100 %, with the chance level as a tick."""
    parts, places, y = lanes(rows)
    inside = [mark for point, at in places for mark in whisker(point, at)]
    parts += [svg.text(percent(point.value), "85%", at + 5, "t-value") for point, at in places]
    grid = [svg.line(svg.pct(t), 20, svg.pct(t), y, "grid") for t in TICKS]
    axis = [_tick(t, y + 16) for t in TICKS]
    desc = ". ".join(
        f"{row.label}: " + ", ".join(f"{p.name} {percent(p.value)}{_between(p.ci)}" for p in row.points) for row in rows
    )
    return svg.figure(slug, title, desc, y + 24, svg.panel(0.012, 0.81, *grid, *inside, *axis), *parts)


def _tick(share: float, y: float) -> Markup:
    anchor = "start" if share == 0 else "end" if share == 1 else "middle"
    return svg.text(percent(share, 0), svg.pct(share), y, "t-axis", anchor=anchor)


def _between(ci: Bounds) -> str:
    return f" (95 % interval {percent(ci[0])} to {percent(ci[1])})" if ci else ""


def lanes(rows: Sequence[Row]) -> tuple[list[Markup], list[tuple[Point, float]], float]:
    """A heading per row and a lane per point below it: the headings, the height of each point, and of the end."""
    head, lane, gap = 24, 24, 10
    headings: list[Markup] = []
    places: list[tuple[Point, float]] = []
    y = 0.0
    for row in rows:
        headings.append(svg.text(row.label, "0%", y + 15, "t-label"))
        y += head
        for point in row.points:
            places.append((point, y + lane / 2 - 2))
            y += lane
        y += gap
    return headings, places, y


def whisker(point: Point, y: float, at: Callable[[float], str] = svg.pct) -> list[Markup]:
    """Dot and 95 % interval in a lane, with a tick for chance; at: from a value to its place."""
    marks = [svg.line("0%", y, "100%", y, "lane")]
    if point.chance is not None:
        marks.append(svg.line(at(point.chance), y - 8, at(point.chance), y + 8, "chance"))
    if point.ci:
        low, high = map(at, point.ci)
        marks.append(svg.line(low, y, high, y, f"ci {point.style}"))
        marks.extend(svg.line(end, y - 4, end, y + 4, f"ci cap {point.style}") for end in (low, high))
    marks.append(svg.marker(point.marker, at(point.value), y, f"dot {point.style}"))
    return marks


def bounds(block: Mapping[str, Any]) -> Bounds:
    """The 95 % interval of a block of the summary."""
    ci = block.get("ci95")
    return (float(ci[0]), float(ci[1])) if ci and None not in ci else None


def bars(slug: str, title: str, rows: Sequence[Point], chance: float | None, mark: str = "chance") -> Markup:
    """Horizontal bars from 0 to 100 % with whiskers; a dashed tick on each at its own chance level, else `chance`.

    mark: what the tick stands for, in words.
    """
    step = 46
    height = step * len(rows)
    parts: list[Markup] = []
    inside = [svg.line(svg.pct(t), 20, svg.pct(t), height, "grid") for t in TICKS]
    for index, row in enumerate(rows):
        y = index * step
        parts.append(svg.text(row.name, "0%", y + 15, "t-label"))
        parts.append(svg.text(percent(row.value), "85%", y + 35, "t-value"))
        inside.append(svg.tag("rect", x="0%", y=y + 22, width=svg.pct(row.value), height=17, class_=f"bar {row.style}"))
        if row.ci:
            low, high = (svg.pct(bound) for bound in row.ci)
            inside.append(svg.line(low, y + 30.5, high, y + 30.5, "ci over"))
            inside.extend(svg.line(end, y + 26.5, end, y + 34.5, "ci over") for end in (low, high))
        if (level := row.chance if row.chance is not None else chance) is not None:
            inside.append(svg.line(svg.pct(level), y + 19, svg.pct(level), y + 42, "chance"))
    inside.extend(_tick(t, height + 16) for t in TICKS)
    own = {row.name: f", {mark} {percent(row.chance)}" for row in rows if row.chance is not None}
    desc = "; ".join(f"{row.name} {percent(row.value)}{_between(row.ci)}{own.get(row.name, '')}" for row in rows)
    desc += f"; {mark} {percent(chance)}" if chance is not None else ""
    return svg.figure(slug, title, desc, height + 24, svg.panel(0.012, 0.81, *inside), *parts)


@dataclass(frozen=True)
class Curve:
    """Accuracy at rising sizes or efforts: (x, accuracy, interval)."""

    name: str
    points: tuple[tuple[float, float, Bounds], ...]
    style: str
    marker: str


def line_plot(slug: str, title: str, curves: Sequence[Curve], levels: Mapping[str, float], unit: str) -> Markup:
    """Accuracy (y, 0 to 100 %) against size or effort (x); `levels` are horizontal lines such as the blank image."""
    top, height = 14.0, 210.0
    largest = max((eps for curve in curves for eps, _, _ in curve.points), default=1.0) or 1.0

    def at_x(eps: float) -> str:
        return svg.pct(eps / largest)

    def at_y(share: float) -> float:
        return top + height * (1 - share)

    inside = [svg.line("0%", at_y(t), "100%", at_y(t), "grid") for t in TICKS]
    for index, (name, share) in enumerate(levels.items()):
        inside.append(svg.line("0%", at_y(share), "100%", at_y(share), f"level level{index}"))
        inside.append(svg.text(f"{name} {percent(share, 0)}", "3%", at_y(share) - 5, "t-level"))
    for curve in curves:
        inside.extend(_path(curve, at_x, at_y))
    shown = _marks({eps for curve in curves for eps, _, _ in curve.points}, largest)
    inside.extend(svg.text(f"{eps:g}", at_x(eps), top + height + 18, "t-axis", anchor="middle") for eps in shown)
    inside.append(svg.text(unit, "50%", top + height + 38, "t-axis", anchor="middle"))
    axis = [svg.text(percent(t, 0), "9.5%", at_y(t) + 4, "t-axis", anchor="end") for t in TICKS]
    desc = "; ".join(
        f"{curve.name}: " + ", ".join(f"{percent(value)} at {eps:g}" for eps, value, _ in curve.points)
        for curve in curves
    ) + "".join(f"; {name} {percent(share)}" for name, share in levels.items())
    return svg.figure(slug, title, desc, top + height + 46, *axis, svg.panel(0.115, 0.855, *inside))


def _marks(values: set[float], largest: float) -> list[float]:
    """The x values themselves where they are few and apart, else round numbers."""
    places = sorted(values)
    if len(places) <= MANY_X and all(b - a >= NEAR * largest for a, b in pairwise(places)):
        return places
    return [tick for tick in nice_ticks(0.0, largest) if tick <= largest]


def _path(curve: Curve, at_x: Callable[[float], str], at_y: Callable[[float], float]) -> list[Markup]:
    marks: list[Markup] = []
    for (eps0, value0, _), (eps1, value1, _) in zip(curve.points, curve.points[1:]):
        marks.append(svg.line(at_x(eps0), at_y(value0), at_x(eps1), at_y(value1), f"path {curve.style}"))
    for eps, value, ci in curve.points:
        if ci:
            marks.append(svg.line(at_x(eps), at_y(ci[0]), at_x(eps), at_y(ci[1]), f"ci {curve.style}"))
        marks.append(svg.marker(curve.marker, at_x(eps), at_y(value), f"dot {curve.style}"))
    return marks


_SHADES = {letter: shade for shade, letter in enumerate("ABCDE")}
"""One shade per letter, the same in every bar; later letters and "none" share the last."""


def letters(slug: str, title: str, shares: Mapping[str, float]) -> Markup:
    """How often each answer was given, as one stacked bar; each part is named where it is wide enough."""
    parts: list[Markup] = []
    start = 0.0
    for name, share in shares.items():
        index = _SHADES.get(name, len(_SHADES))
        x, width = svg.pct(start), svg.pct(share)
        parts.append(svg.tag("rect", x=x, y=0, width=width, height=20, class_=f"seg seg{index}"))
        if share >= 0.12:
            parts.append(svg.text(name, svg.pct(start + share / 2), 14.5, f"t-seg seg{index}", anchor="middle"))
        start += share
    desc = ", ".join(f"{name} {percent(share)}" for name, share in shares.items()) or "no answers"
    return svg.figure(slug, title, desc, 20, *parts, class_="plot strip")
