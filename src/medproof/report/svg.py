"""A few lines that write accessible inline SVG.

Positions along x are percentages and positions along y are pixels, so a figure stretches with the page while its
text keeps its size: readable at 360 px and at 1,200 px without script.
"""

from typing import Final

from markupsafe import Markup, escape

MARKERS: Final = ("circle", "square", "diamond", "triangle")
_PATHS = {
    "square": "M-4.5-4.5h9v9h-9z",
    "diamond": "M0-6 6 0 0 6-6 0z",
    "triangle": "M0-6 5.8 4.5-5.8 4.5z",
}

Value = str | int | float


def _text(value: Value) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def tag(name: str, *children: Value, **attributes: Value | None) -> Markup:
    """One element. Children and attribute values are escaped unless they are Markup; None drops an attribute.

    `class_` becomes `class`, other underscores become hyphens.
    """
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    head = "".join(f' {key}="{escape(_text(value))}"' for key, value in pairs)
    body = Markup("").join(child if isinstance(child, Markup) else escape(_text(child)) for child in children)
    return Markup(f"<{name}{head}>{body}</{name}>")


def pct(share: float) -> str:
    """A share in [0, 1] as an SVG percentage, clamped to the plot."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def figure(slug: str, title: str, desc: str, height: float, *children: Markup, class_: str = "plot") -> Markup:
    """An image for assistive technology: named by its title, told in full by its description."""
    return tag(
        "svg",
        tag("title", title, id=f"{slug}-t"),
        tag("desc", desc, id=f"{slug}-d"),
        *children,
        class_=class_,
        width="100%",
        height=height,
        role="img",
        aria_labelledby=f"{slug}-t {slug}-d",
    )


def panel(x: float, width: float, *children: Markup) -> Markup:
    """A plot region from `x` to `x + width` (shares of the figure): 0 % to 100 % inside is its own width."""
    return tag("svg", *children, x=pct(x), y=0, width=pct(width), height="100%", overflow="visible")


def text(content: str, x: str, y: float, class_: str = "", anchor: str = "start") -> Markup:
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=None if anchor == "start" else anchor)


def line(x1: str, y1: float, x2: str, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def marker(kind: str, x: str, y: float, class_: str) -> Markup:
    """A point; series differ in shape as well as in colour."""
    if kind == "circle":
        return tag("circle", cx=x, cy=y, r=5, class_=class_)
    return tag("svg", tag("path", d=_PATHS[kind], class_=class_), x=x, y=y, overflow="visible")
