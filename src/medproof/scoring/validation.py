"""May a number be called robust accuracy? Only where every sanity check of its attacks has passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from medproof.scoring.attack_key import AttackKey
from medproof.scoring.numbers import Json

State = Literal["validated", "not validated", "not checked"]
VALIDATED = "robust accuracy"
PLAIN = "accuracy under these attacks"


def validation(sanity: Mapping[str, Any] | None, attacks: Sequence[AttackKey]) -> Json:
    """{state, name, reason, checks, subject, n_items, convergence} for the attacks of a run.

    sanity: the content of sanity.json. `name` is what the run's RA may be called: "robust accuracy" where all checks
    passed, else "accuracy under these attacks (<state>: <reason>)". A check that was not run, an attack added after the
    checks, and an attack within a ball of another norm than the checked one leave a run unchecked.
    """
    if sanity is None:
        return _block("not checked", "run with --sanity", None)
    checks = sanity["checks"]
    of = {verdict: [c["title"] for c in checks if c["verdict"] == verdict] for verdict in ("failed", "not run")}
    if of["failed"]:
        return _block("not validated", f"{_few(of['failed'])} failed", sanity)
    known = sanity.get("attacks") or ()
    if later := [key.condition for key in attacks if key.condition not in known]:
        return _block("not checked", f"{_few(later)} came after the checks: run with --sanity again", sanity)
    checked = AttackKey.read(str(sanity.get("subject") or "clean"))
    other = [key.condition for key in attacks if not key.minimal and (checked is None or key.norm != checked.norm)]
    if other:
        return _block("not checked", f"{_few(other)} not of the checked norm: give each norm a run", sanity)
    if of["not run"] or not checks:
        return _block("not checked", f"{_few(of['not run']) or 'every check'} not run", sanity)
    return _block("validated", "", sanity)


def _block(state: State, reason: str, sanity: Mapping[str, Any] | None) -> Json:
    told = sanity or {}
    return {
        "state": state,
        "reason": reason,
        "name": VALIDATED if state == "validated" else f"{PLAIN} ({state}: {reason})",
        "checks": list(told.get("checks") or ()),
        "subject": told.get("subject"),
        "n_items": told.get("n_items"),
        "convergence": list(told.get("convergence") or ()),
    }


def _few(names: list[str], most: int = 3) -> str:
    shown = [f'"{name}"' for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
