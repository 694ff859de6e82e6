"""Attacks on images, independent of models: a score, a threat model, a search.

`pgd` searches the ball of a `ThreatModel` for the image with the highest loss of a `Score`; `OptionScore` makes that
score from a white-box model.
"""

from medproof.attacks.objective import OptionScore, Score
from medproof.attacks.pgd import pgd
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.threat import Norm, ThreatModel, levels, to_images

__all__ = [
    "AttackResult",
    "Norm",
    "OptionScore",
    "Score",
    "ThreatModel",
    "Tracker",
    "levels",
    "pgd",
    "to_images",
]
