"""One accepted question on its way through the worker."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from medproof.models.protocol import Reply
from medproof.records import Certificate, View
from medproof.smoothing.plans import Stop
from medproof.smoothing.scheme import Scheme, Tally

Stopped = Stop | Literal["deadline"]
"""Why voting ended: as the plan says, or because time is up."""


@dataclass(frozen=True)
class Verdict:
    """What the worker found. `answer`: an option's text, or None: abstain. `certificate`: None before the first look.

    `blank`: the answer to a mid-grey image; `clean`: to the image without noise; None for no option, or no time.
    """

    answer: str | None
    certificate: Certificate | None
    stopped: Stopped
    clean: str | None
    blank: str | None
    reply: Reply | None


@dataclass(eq=False)
class Job:
    """`view`: the image as it is; `thinking`: the same, asked for reasons; `seed`: of the noise; `start`: no votes yet;
    `deadline`: by the worker's clock."""

    view: View
    blank: View
    thinking: View | None
    seed: int
    scheme: Scheme
    start: Tally
    deadline: float
    answered: Future[Verdict] = field(default_factory=Future)
    prepared: bool = False
    clean_answer: str | None = None
    blank_answer: str | None = None
    reply: Reply | None = None
    looked: Tally | None = None

    def __post_init__(self) -> None:
        self.tally = self.start
