"""What a text claims about an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["modality", "view", "region", "side", "count", "size", "finding", "grade", "conclusion"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Claim:
    """One statement. value: normalised, see docs/rationale_audit.md. start, end: where it stands in the text.

    positive: False where it is denied. hedged: said with doubt. about: of a side, count or size, the finding or region
    that it is said of; of a denied finding, the side or region for which alone it is denied; None where not said.
    """

    kind: Kind
    value: str
    start: int
    end: int
    positive: bool = True
    hedged: bool = False
    about: str | None = None

    @property
    def said(self) -> tuple[str, str, bool, str | None]:
        """What is claimed, wherever it stands: two claims of equal content are one."""
        return self.kind, self.value, self.positive, self.about
