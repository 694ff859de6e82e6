"""The plots of the attack section: accuracy against size and effort, and where the change lies."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from medproof.records import Condition
from medproof.report import plots
from medproof.report.attacks import budget
from medproof.report.plots import Bounds, Curve, Point
from medproof.report.run_view import RunView
from medproof.report.wording import NBSP, NORMS, in_words

NOISE = frozenset({"random_sign", "random_l2"})
STYLES = 5
MARKERS = ("circle", "square", "triangle", "diamond")

Figure = tuple[RunView, str, Markup, list[Curve]]
"""(run, what it shows, plot, its curves for the legend)"""


def by_eps(runs: Sequence[RunView]) -> list[Figure]:
    """Accuracy against attack size, one plot per run and norm."""
    found = []
    for place, run in enumerate(runs):
        families = (run.summary.get("robust") or {}).get("curves") or []
        blank = run.answered("blank")
        levels = {"blank image": float(blank["accuracy"])} if blank else {}
        for norm in dict.fromkeys(str(f["norm"]) for f in families if f["family"] not in NOISE):
            curves = _named([family for family in families if family["norm"] == norm])
            name = NORMS.get(norm, norm)
            scale = "pixels in 0 to 1" if norm == "l2" else "in 1/255 of the pixel range"
            title = f"{run.label}: accuracy against attack size ({name})"
            plot = plots.line_plot(f"eps-{place}-{norm}", title, curves, levels, f"attack size ε, {name}, {scale}")
            found.append((run, name, plot, curves))
    return found


def _named(families: Sequence[Mapping[str, Any]]) -> list[Curve]:
    attacks = [family for family in families if family["family"] not in NOISE]
    words = [family_words(family, attacks) for family in attacks]
    curves = [
        Curve(name, _points(family), f"attack{place % STYLES}", MARKERS[place % len(MARKERS)])
        for place, (name, family) in enumerate(zip(words, attacks, strict=True))
    ]
    noise = [Curve("Random noise of that size", _points(f), "noise", "diamond") for f in families if f not in attacks]
    return curves + noise


def family_words(family: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> str:
    """The attack without its budget, with what tells it from the others of its name."""
    same = [other for other in beside if other["attack"] == family["attack"]]
    if len(same) == 1:
        return in_words(str(family["attack"]))
    parsed = Condition.parse(str(family["condition"]))
    options = [f"{name}{NBSP}{value}" for name, value in sorted(parsed.kwargs.items())]
    return ", ".join([in_words(parsed.name), *(f"{n}{NBSP}steps" for n in parsed.args[2:3]), *options])


def _points(family: Mapping[str, Any]) -> tuple[tuple[float, float, Bounds], ...]:
    scale = 255 if family["norm"] == "l2" else 1
    return tuple(
        (float(point["eps_255"]) / scale, float(point["accuracy"]), plots.bounds(point))
        for point in family["points"]
        if point.get("accuracy") is not None
    )


def by_effort(runs: Sequence[RunView]) -> list[Figure]:
    """Accuracy against steps x restarts, of the run's own attacks and of those that checked them."""
    found = []
    for place, run in enumerate(runs):
        robust = run.summary.get("robust") or {}
        checked = robust.get("validation") or {}
        own = [(block, "") for block in robust.get("convergence") or []]
        of_checks = [(block, f", {checked['n_items']} questions") for block in checked.get("convergence") or []]
        for number, (block, remark) in enumerate(own + of_checks):
            curves = _effort_curves(block)
            name = f"{in_words(str(block['attack']))}, {budget(block)}{remark}"
            title = f"{run.label}: accuracy against effort ({name})"
            plot = plots.line_plot(f"effort-{place}-{number}", title, curves, {}, "steps × restarts")
            found.append((run, name, plot, curves))
    return found


def _effort_curves(block: Mapping[str, Any]) -> list[Curve]:
    """More steps at the fewest restarts; more restarts at a number of steps where there are several."""
    points = [point for point in block["points"] if point.get("accuracy") is not None]
    fewest = min((point["restarts"] for point in points), default=1)
    several = {point["steps"] for point in points if point["restarts"] > fewest}
    chosen = [("more steps", [point for point in points if point["restarts"] == fewest])]
    chosen += [(f"more restarts of {n} steps", [p for p in points if p["steps"] == n]) for n in sorted(several)]
    return [
        Curve(
            name,
            tuple((float(p["steps"] * p["restarts"]), float(p["accuracy"]), plots.bounds(p)) for p in some),
            f"attack{place % STYLES}",
            MARKERS[place % len(MARKERS)],
        )
        for place, (name, some) in enumerate(chosen)
        if some
    ]


def by_evidence(runs: Sequence[RunView]) -> list[tuple[RunView, Markup, int]]:
    """Share of the change inside the boxes that hold the evidence, against their share of the image."""
    found = []
    for place, run in enumerate(runs):
        block = (run.summary.get("robust") or {}).get("evidence")
        if block:
            rows = [
                Point(
                    in_words(key), told["energy"], None, told["area"], "unseen" if told["control"] else "real", "circle"
                )
                for key, told in block.items()
            ]
            most = max(told["n"] for told in block.values())
            title = f"{run.label}: share of the change inside the evidence"
            found.append((run, plots.bars(f"evidence-{place}", title, rows, None, mark="share of the image"), most))
    return found
