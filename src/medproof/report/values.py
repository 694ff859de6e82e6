"""Table cells of the {value, ci95, n} blocks of report.json."""

from collections.abc import Mapping
from typing import Any

from medproof.report.tables import HEAT_STEPS, Cell
from medproof.report.wording import MISSING, NBSP, interval, percent, points

Block = Mapping[str, Any] | None


def share_cell(block: Block, *, heat: bool = False, count: bool = False) -> Cell:
    """A share with its interval; `heat`: coloured by its size; `count`: with n beneath."""
    if not block or block.get("value") is None:
        return Cell(MISSING)
    value = float(block["value"])
    step = min(HEAT_STEPS - 1, int(value * HEAT_STEPS)) if heat else None
    return Cell(percent(value, 0 if heat else 1), _small(block, count), heat=step)


def points_cell(block: Block, *, count: bool = False) -> Cell:
    """A difference of shares, in percentage points with its sign."""
    if not block or block.get("value") is None:
        return Cell(MISSING)
    return Cell(points(block["value"]), _small(block, count))


def number_cell(block: Block) -> Cell:
    """A plain number such as an IoU, with two decimals."""
    if not block or block.get("value") is None:
        return Cell(MISSING)
    ci = block.get("ci95")
    bounds = f"{ci[0]:.2f} to {ci[1]:.2f}".replace(" ", NBSP) if ci else ""
    return Cell(f"{block['value']:.2f}", bounds.replace("-", "−"))


def p_cell(block: Block) -> Cell:
    """The p-value of a contrast: adjusted by Holm, with the exact one beneath."""
    if not block or block.get("p") is None:
        return Cell(MISSING)
    return Cell(f"{block.get('p_holm', block['p']):.2g}", f"{block['p']:.2g}{NBSP}alone")


def count_cell(block: Block) -> Cell:
    return Cell(str(block["n"]) if block else MISSING)


def _small(block: Mapping[str, Any], count: bool) -> str:
    parts = [interval(block.get("ci95")), f"n{NBSP}{block['n']}" if count else ""]
    return f"{NBSP}· ".join(filter(None, parts))
