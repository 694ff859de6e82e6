"""Accuracy from stage to stage as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from medproof.report import svg
from medproof.report.plots import TICKS, Bounds
from medproof.report.wording import percent

_TOP, _HEIGHT = 12.0, 210.0
_APART = 0.022
"""Of the width, between the points of two lines at one stage: their whiskers stay apart."""


@dataclass(frozen=True)
class StageLine:
    """(stage, value, interval) in order. style: CSS classes of the line, the first of them its colour."""

    name: str
    points: tuple[tuple[str, float, Bounds], ...]
    style: str
    marker: str


def stage_plot(slug: str, title: str, stages: Sequence[str], lines: Sequence[StageLine]) -> Markup:
    """One line per series over the stages, 0 to 100 %, with 95 % whiskers."""
    at = {stage: (place + 0.5) / len(stages) for place, stage in enumerate(stages)}
    inside = [svg.line("0%", _y(t), "100%", _y(t), "grid") for t in TICKS]
    inside += [svg.text(s, svg.pct(x), _TOP + _HEIGHT + 20, "t-label", anchor="middle") for s, x in at.items()]
    for place, line in enumerate(lines):
        inside += _drawn(line, at, _APART * (place - (len(lines) - 1) / 2))
    axis = [svg.text(percent(t, 0), "12%", _y(t) + 4, "t-axis", anchor="end") for t in TICKS]
    desc = "; ".join(
        f"{line.name}: " + ", ".join(f"{stage} {percent(value)}" for stage, value, _ in line.points) for line in lines
    )
    return svg.figure(slug, title, desc, _TOP + _HEIGHT + 30, *axis, svg.panel(0.14, 0.85, *inside))


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _drawn(line: StageLine, at: dict[str, float], shift: float) -> list[Markup]:
    places = [(svg.pct(at[stage] + shift), value, ci) for stage, value, ci in line.points]
    colour = line.style.split()[0]
    marks = [svg.line(x0, _y(y0), x1, _y(y1), f"path {line.style}") for (x0, y0, _), (x1, y1, _) in pairwise(places)]
    for x, value, ci in places:
        if ci:
            marks.append(svg.line(x, _y(ci[0]), x, _y(ci[1]), f"ci {colour}"))
        marks.append(svg.marker(line.marker, x, _y(value), f"dot {line.style}"))
    return marks
