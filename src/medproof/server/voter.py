"""What the server needs of a smoothed model; tests put their own behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from medproof.images.grid import Grid
from medproof.models.protocol import Reply
from medproof.records import Item, Mode, View
from medproof.smoothing.votes import Draws, Votes


class Voter(Protocol):
    """A smoothed base classifier. Called by one thread only."""

    name: str
    weights_hash: str
    processor_hash: str
    sigma: float
    base: str
    mode: Mode

    @property
    def grid(self) -> Grid | None:
        """The pixel grid that images are rendered to."""

    def classes(self, item: Item) -> tuple[str, ...]:
        """What votes are counted for: the options in order, and what else the base classifier may say."""

    def draw(self, requests: Sequence[Draws]) -> list[Votes]:
        """Per request (count,) the number of the class that each draw voted for. The same draws, the same votes."""

    def choices(self, views: Sequence[View]) -> list[str | None]:
        """What the base classifier says without noise: an option's text, or None for none."""

    def replies(self, views: Sequence[View]) -> list[Reply]:
        """Reasoning and answer, greedily decoded. The views are in mode `think`."""
