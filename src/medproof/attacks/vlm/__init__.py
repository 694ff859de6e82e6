"""Scores of vision-language models: what an attack on one drives at. They know `models.protocol` only.

Where the answer opens the reply, `OptionScore` and `TargetedSweep` ask for it there. Where the model reasons first,
`RationaleScore` asks behind rationales that it writes itself, `StopScore` keeps it from reasoning. `EncoderScore` needs
no text at all. `OptionQueries` and `LetterQueries` serve searches without gradients.
"""

from medproof.attacks.vlm.encoder import EncoderScore
from medproof.attacks.vlm.queries import LetterQueries, OptionQueries
from medproof.attacks.vlm.rationale import RationaleScore
from medproof.attacks.vlm.reader import Reader
from medproof.attacks.vlm.stop import StopScore
from medproof.attacks.vlm.targets import TargetedSweep

__all__ = [
    "EncoderScore",
    "LetterQueries",
    "OptionQueries",
    "RationaleScore",
    "Reader",
    "StopScore",
    "TargetedSweep",
]
