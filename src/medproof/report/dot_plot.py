"""Differences with their intervals as inline SVG: dots on an axis that holds zero."""

from collections.abc import Sequence

from markupsafe import Markup

from medproof.report import svg
from medproof.report.plots import Point, Row, lanes, whisker
from medproof.report.step_plot import nice_ticks
from medproof.report.wording import interval, points


def dot_plot(slug: str, title: str, rows: Sequence[Row]) -> Markup:
    """One lane per point with its 95 % whisker, in percentage points; zero is drawn stronger."""
    edges = [edge for row in rows for p in row.points for edge in (p.value, *(p.ci or ()))]
    ticks = nice_ticks(min(0.0, *edges), max(0.0, *edges))
    low, span = ticks[0], ticks[-1] - ticks[0]

    def at(value: float) -> str:
        return svg.pct((value - low) / span)

    labels, places, y = lanes(rows)
    inside = [mark for point, height in places for mark in whisker(point, height, at)]
    labels += [svg.text(points(point.value), "100%", height + 5, "t-value", anchor="end") for point, height in places]
    grid = [svg.line(at(tick), 18, at(tick), y, "level" if tick == 0 else "grid") for tick in ticks]
    signed = {tick: f"{100 * tick:+.3g}".replace("-", "−") if tick else "0" for tick in ticks}
    axis = [svg.text(words, at(tick), y + 16, "t-axis", anchor="middle") for tick, words in signed.items()]
    desc = ". ".join(f"{row.label}: " + ", ".join(_said(point) for point in row.points) for row in rows)
    return svg.figure(slug, title, desc, y + 24, svg.panel(0.05, 0.72, *grid, *inside, *axis), *labels)


def _said(point: Point) -> str:
    bounds = f" (95 % interval {interval(point.ci)})" if point.ci else ""
    return f"{point.name} {points(point.value)}{bounds}"
