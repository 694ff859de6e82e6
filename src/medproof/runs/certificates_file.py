"""certificates.json of a run: its certificates by scheme, as they follow from the logged votes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medproof.errors import UserError
from medproof.records import Certificate
from medproof.runs.atomic import write_bytes

NAME = "certificates.json"


@dataclass(frozen=True)
class CertificateSet:
    """Certificates of one scheme, in the order of the run's items.

    base, rounded: the base classifier. pictures: item id -> SHA-256, height and width of the pixels; equal ones share
    their noise.
    """

    base: str
    rounded: bool
    certificates: tuple[Certificate, ...]
    pictures: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[Any, ...]:
        first = self.certificates[0]
        return self.base, self.rounded, first.sigma, first.alpha, first.bound, first.plan


def add_certificates(run: Path, new: Sequence[CertificateSet]) -> Path:
    """Write the run's sets with `new` in place of those of the same schemes; sorted by scheme. Returns the path."""
    sets = {one.identity: one for one in [*read_certificates(run), *new] if one.certificates}
    content = {"schema": 1, "sets": [_to_json(sets[key]) for key in sorted(sets)]}
    path = run / NAME
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return path


def read_certificates(run: Path) -> list[CertificateSet]:
    """Empty where nothing was certified. Raises UserError where the file is damaged."""
    path = run / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [
            CertificateSet(
                base=str(one["base"]),
                rounded=bool(one["rounded"]),
                certificates=tuple(Certificate.model_validate(row) for row in one["certificates"]),
                pictures={item: (str(sha), int(h), int(w)) for item, (sha, h, w) in one["pictures"].items()},
            )
            for one in content["sets"]
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged: delete it and run `medproof certify --from-counts` to make it again"
        ) from error


def _to_json(one: CertificateSet) -> dict[str, Any]:
    rows = [certificate.model_dump(mode="json") for certificate in one.certificates]
    return {"base": one.base, "rounded": one.rounded, "pictures": dict(one.pictures), "certificates": rows}
