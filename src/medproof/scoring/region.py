"""What the evidence is worth (METRICS, "Looking at the image"): it alone, or everything but it."""

from __future__ import annotations

from medproof.records import Condition
from medproof.scoring.contrasts import add_holm, contrast, right_under
from medproof.scoring.numbers import Json, bootstrapped, share
from medproof.scoring.scored import CLEAN, Scored


def region(scored: Scored, seed: int = 0) -> Json | None:
    """The region block; null where nothing was masked.

    - `accuracy`: by condition, clean too, over the items that all of them hold;
    - `VGR` = Acc(region only) - Acc(region masked); `VGR_control` the same for an equal area elsewhere; `excess` their
      difference, from one set of resamples;
    - `masking` = Acc(masked elsewhere) - Acc(region masked): what hiding the evidence costs beyond hiding as much.

    One row per fill (grey, mean). Holm over all tests of the block.
    """
    run = filter(scored.outcomes.get, scored.conditions)
    keys = {_named(key): key for key in run if Condition.parse(key).name in ("masked", "region_only")}
    fills = sorted({fill for name, _, fill in keys if name == "masked"})
    if not fills:
        return None
    rows = [_row(scored, fill, keys, seed) for fill in fills]
    return {"rows": rows, "tests": add_holm(rows)}


def _named(key: str) -> tuple[str, str, str]:
    """(name, where, fill); region_only has no fill."""
    condition = Condition.parse(key)
    given = {**dict(zip(("where", "fill"), condition.args, strict=False)), **condition.kwargs}
    return condition.name, given["where"], given.get("fill", "grey") if condition.name == "masked" else ""


def _row(scored: Scored, fill: str, keys: dict[tuple[str, str, str], str], seed: int) -> Json:
    names = {
        "region_only": ("region_only", "region", ""),
        "region_masked": ("masked", "region", fill),
        "elsewhere_only": ("region_only", "elsewhere", ""),
        "elsewhere_masked": ("masked", "elsewhere", fill),
    }
    arms = {name: right_under(scored, keys.get(key)) for name, key in names.items()}
    arms = {"clean": right_under(scored, CLEAN), **{name: arm for name, arm in arms.items() if arm}}
    ids = [i for i in arms["clean"] if all(i in arm for arm in arms.values())]
    arms = {name: {i: arm[i] for i in ids} for name, arm in arms.items()}

    def difference(a: str, b: str) -> Json | None:
        return contrast(arms.get(a, {}), arms.get(b, {}), scored.items, seed)

    return {
        "fill": fill,
        "n": len(ids),
        "accuracy": {name: share(arm.values(), "accuracy") for name, arm in arms.items()},
        "VGR": difference("region_only", "region_masked"),
        "VGR_control": difference("elsewhere_only", "elsewhere_masked"),
        "excess": _excess(scored, arms, ids, seed) if names.keys() <= arms.keys() else None,
        "masking": difference("elsewhere_masked", "region_masked"),
    }


def _excess(scored: Scored, arms: dict[str, dict[str, bool]], ids: list[str], seed: int) -> Json:
    order = ("region_only", "region_masked", "elsewhere_only", "elsewhere_masked")
    columns = [[float(arms[name][i]) for i in ids] for name in order]
    clusters = [scored.items[i].cluster for i in ids]
    return bootstrapped(columns, {"d": lambda m: m[..., 0] - m[..., 1] - (m[..., 2] - m[..., 3])}, clusters, seed)["d"]
