"""What the loop tells while it works, and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Where one condition stands: `done` of `total` items after `seconds`; `skipped` of them cost nothing (already
    present, not applicable, or another worker's), which a time estimate should leave out."""

    condition: str
    done: int
    total: int
    seconds: float
    skipped: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the items answered so far; None before the first."""
        answered = self.done - self.skipped
        return self.seconds / answered * (self.total - self.done) if answered > 0 else None


@dataclass
class ConditionSummary:
    """Counts of one condition in this call. They add up to the number of items unless the call was interrupted."""

    done: int = 0
    """answered now, errors not included"""
    skipped: int = 0
    """present before, from an earlier call or another worker"""
    errors: int = 0
    """failed now; tried again by the next call"""
    not_applicable: int = 0
    """items the condition does not apply to"""
    elsewhere: int = 0
    """left to other workers that hold their claims"""


@dataclass
class Summary:
    """What a call of `evaluate` did, by condition key."""

    conditions: dict[str, ConditionSummary] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return sum(counts.done for counts in self.conditions.values())

    @property
    def errors(self) -> int:
        return sum(counts.errors for counts in self.conditions.values())

    @property
    def complete(self) -> bool:
        """Whether every item has a good response or is not applicable, under every condition asked for."""
        return not self.interrupted and not any(c.errors or c.elsewhere for c in self.conditions.values())

    @property
    def message(self) -> str:
        """One line for a person: what came of it and what to do next."""
        counts = f"{self.done} answered"
        skipped = sum(c.skipped for c in self.conditions.values())
        elsewhere = sum(c.elsewhere for c in self.conditions.values())
        extras: Mapping[str, int] = {"already there": skipped, "failed": self.errors, "with other workers": elsewhere}
        line = ", ".join([counts, *(f"{count} {name}" for name, count in extras.items() if count)])
        if self.interrupted:
            return f"interrupted: {line}; nothing is lost, run the same command again to go on"
        return f"{line}; run the same command again to retry what failed" if self.errors else line
