"""Curves over training steps as inline SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from medproof.report import svg
from medproof.report.wording import percent

MAX_POINTS = 100
_TOP, _HEIGHT = 10.0, 170.0
_WIDE = 1000  # units of the stretched drawing


@dataclass(frozen=True)
class Line:
    """Values at rising steps. `style` holds the CSS classes; `dots`: mark every point."""

    name: str
    points: tuple[tuple[float, float], ...]
    style: str
    dots: bool = False


def binned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most `MAX_POINTS`: means of `bin_size` neighbours."""
    size = bin_size(len(points))
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple((fmean(x for x, _ in chunk), fmean(y for _, y in chunk)) for chunk in chunks)


def bin_size(count: int) -> int:
    return max(1, math.ceil(count / MAX_POINTS))


def step_plot(slug: str, title: str, lines: Sequence[Line], *, share: bool = False) -> Markup:
    """Lines over steps; `share`: values in [0, 1], drawn as 0 to 100 %."""
    values = [y for line in lines for _, y in line.points]
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if share else nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    last = max(x for line in lines for x, _ in line.points) or 1.0

    def at_y(value: float) -> float:
        return _TOP + _HEIGHT * (high - value) / (high - low)

    def shown(value: float) -> str:
        return percent(value, 0) if share else f"{value:.4g}".replace("-", "−")

    inside = [svg.line("0%", at_y(tick), "100%", at_y(tick), "grid") for tick in ticks]
    axis = [svg.text(shown(tick), "12%", at_y(tick) + 4, "t-axis", anchor="end") for tick in ticks]
    drawn = [_drawn(line, last, at_y) for line in lines]
    inside.append(_stretched(*drawn))
    dots = [(line, x, y) for line in lines if line.dots for x, y in line.points]
    inside.extend(svg.marker("circle", svg.pct(x / last), at_y(y), f"dot {line.style}") for line, x, y in dots)
    bottom = _TOP + _HEIGHT + 18
    inside.extend(svg.text(f"{x:.0f}", svg.pct(x / last), bottom, "t-axis", anchor=a) for x, a in _step_marks(last))
    ends = [(line.name, line.points[0], line.points[-1]) for line in lines]
    desc = "; ".join(f"{name}: {shown(a)} at first, {shown(b)} at step {x:.0f}" for name, (_, a), (x, b) in ends)
    return svg.figure(slug, title, desc, bottom + 8, *axis, svg.panel(0.14, 0.83, *inside))


def nice_ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers from at most `low` to at least `high`."""
    size = max(abs(low), abs(high))
    span = high - low
    if span < 1e-9 * max(1.0, size):  # equal but for rounding
        span = size if size > 1e-6 else 1.0
    step = 10 ** math.floor(math.log10(span))
    step = next(step * factor for factor in (0.2, 0.5, 1, 2, 5) if span / (step * factor) <= 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        first, last = (first, last + 1) if first == 0 else (first - 1, last)
    return [float(f"{step * number:.12g}") for number in range(first, last + 1)]


def _step_marks(last: float) -> list[tuple[float, str]]:
    return [(0.0, "start"), (last / 2, "middle"), (last, "end")] if last >= 2 else [(last, "end")]


def _drawn(line: Line, last: float, at_y: Callable[[float], float]) -> Markup:
    points = " ".join(f"{_WIDE * x / last:.1f},{at_y(y):.1f}" for x, y in line.points)
    return svg.tag("polyline", points=points, class_=f"path {line.style}", vector_effect="non-scaling-stroke")


def _stretched(*children: Markup) -> Markup:
    """A drawing as wide as the panel, whatever that is; lines keep their width."""
    height = _TOP + _HEIGHT
    view = f"0 0 {_WIDE} {height:g}"
    return svg.tag("svg", *children, x="0%", y=0, width="100%", height=height, viewBox=view, preserveAspectRatio="none")
