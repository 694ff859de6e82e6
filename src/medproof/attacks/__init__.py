"""Attacks on images, independent of models: a score, a threat model, a search.

Each attack searches the ball of a `ThreatModel` for the image with the highest loss of a `Score`; `OptionScore` makes
that score from a white-box model, `ClassifierScore` from a plain network, `SmoothedScore` from a score under noise.
`cw_l2`, `ddn` and `smallest_eps` search the closest image that is adversarial instead.
"""

from medproof.attacks.carlini_wagner import cw_l2
from medproof.attacks.classifier import ClassifierScore
from medproof.attacks.ddn import ddn
from medproof.attacks.fgsm import fgsm
from medproof.attacks.minimal import MinimalResult, smallest_eps
from medproof.attacks.objective import OptionScore, Score
from medproof.attacks.pgd import apgd, pgd
from medproof.attacks.random_noise import random_noise
from medproof.attacks.result import AttackResult, Tracker
from medproof.attacks.smoothed import SmoothedScore
from medproof.attacks.square import square
from medproof.attacks.targeted import targeted
from medproof.attacks.threat import Norm, ThreatModel, levels, to_images
from medproof.attacks.universal import apply_universal, universal

__all__ = [
    "AttackResult",
    "ClassifierScore",
    "MinimalResult",
    "Norm",
    "OptionScore",
    "Score",
    "SmoothedScore",
    "ThreatModel",
    "Tracker",
    "apgd",
    "apply_universal",
    "cw_l2",
    "ddn",
    "fgsm",
    "levels",
    "pgd",
    "random_noise",
    "smallest_eps",
    "square",
    "targeted",
    "to_images",
    "universal",
]
