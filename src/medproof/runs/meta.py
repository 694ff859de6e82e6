"""run.json: what a run is. It decides whether a run may be gone on with, and it holds no secret."""

import json
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.runs.atomic import write_bytes
from medproof.runs.redact import redact

Meta = dict[str, Any]
SCHEMA = 1

# What must be equal for responses to belong to one run: the key compared, its name, the key shown beside it.
_IDENTITY = (
    ("weights_hash", "model", "model"),
    ("processor_hash", "processor", "model"),
    ("mode", "mode", None),
    ("dataset_fingerprint", "data", "dataset"),
    ("seed", "seed", None),
    ("decoding", "decoding", None),
    ("grid", "pixel grid", None),
)


def normal(meta: Meta) -> Meta:
    """A plain, redacted copy as run.json holds it (tuples become lists), with the schema number.

    Raises TypeError on what JSON cannot hold.
    """
    plain: Meta = json.loads(json.dumps({"schema": SCHEMA, **meta}))
    redacted: Meta = redact(plain)
    return redacted


def read_meta(path: Path) -> Meta:
    """The content of run.json of the run at `path`. Raises UserError where that is no run."""
    file = path / "run.json"
    if not path.exists():
        raise UserError(f"no run at {path}: the folder does not exist; check the path given")
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is not a run: it holds no run.json; give a folder written by `medproof run`") from None
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): restore it or use another --out") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("schema"), int):
        raise UserError(f"{file} is not the run.json of a run: give a folder written by `medproof run`")
    if meta["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer medproof (schema {meta['schema']}): update medproof")
    return meta


def write_meta(path: Path, meta: Meta) -> None:
    """Write run.json whole. The caller holds the store's lock."""
    text = json.dumps(normal(meta), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    write_bytes(path / "run.json", text.encode(), tag="store")


def differences(old: Meta, new: Meta) -> list[str]:
    """What keeps `new` from going on with the run `old`, in words; empty when nothing does."""
    lines = []
    for key, name, shown in _IDENTITY:
        if old.get(key) != new.get(key):
            was, now = (_shown(meta, key, shown) for meta in (old, new))
            lines.append(f"{name} was {was}, now {now}")
    return lines


def refuse_other(path: Path, old: Meta, new: Meta) -> None:
    """Raises UserError where `new` is another experiment than the run `old` at `path`."""
    lines = differences(old, new)
    if lines:
        raise UserError(f"{path} holds another run ({'; '.join(lines)}): use another --out")


def merged(old: Meta, new: Meta) -> Meta:
    """`old` with the conditions of `new` added, and the environment of `new` noted where it is not the first one."""
    conditions = [*old.get("conditions", []), *new.get("conditions", [])]
    result = {**old, "conditions": list(dict.fromkeys(conditions))}
    environment = {key: new[key] for key in ("versions", "hardware") if key in new}
    seen = [old, *old.get("resumed", [])]
    if not any(all(past.get(key) == value for key, value in environment.items()) for past in seen):
        note = {key: new[key] for key in ("command", "created") if key in new}
        result["resumed"] = [*old.get("resumed", []), {**note, **environment}]
    return result


def _shown(meta: Meta, key: str, shown: str | None) -> str:
    value = meta.get(key)
    if shown is not None:
        details = [
            f"{name} {meta[name]}" for name in ("split", "limit") if key == "dataset_fingerprint" and name in meta
        ]
        return " ".join([str(meta.get(shown)), *details, f"[{str(value)[:12]}]"])
    return json.dumps(value, sort_keys=True)
