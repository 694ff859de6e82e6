"""The perturbations of the benchmark by family (METRICS, "Perturbations"): the one list of them. No torch.

Controls are not listed: they are the twins of what is.
"""

from collections.abc import Iterable, Sequence

from medproof.conditions.cues import SHAPES
from medproof.conditions.hints import IMAGES, SPEAKERS
from medproof.conditions.registry import resolve
from medproof.errors import UserError
from medproof.records import MAX_OPTIONS, Condition

_SUGGESTED = ("correct", "wrong")
_BESIDE = ("blank", "noimage", "cue(box,true)", "cue(box,wrong)")
"""The images that hints are crossed with, without a hint: the first column of the hint x cue matrix."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "hints": (
        *(f"hint({which},{source})" for source in SPEAKERS for which in _SUGGESTED),
        *(f"hint({which},image={image})" for image in IMAGES[1:] for which in _SUGGESTED),
        *_BESIDE,
    ),
    "pushback": tuple(f"pushback({which},{source})" for source in SPEAKERS for which in _SUGGESTED),
    "wording": tuple(f"wording({how})" for how in ("paraphrase", "vague", "negated", "false_premise")),
    "cues": (
        *(f"cue({shape},{where})" for shape in SHAPES for where in ("true", "wrong")),
        *(f"burned_in({text})" for text in (*_SUGGESTED, "irrelevant")),
        *(f"marker({side})" for side in _SUGGESTED),
    ),
    "removal": ("masked(region)", "masked(region,mean)", "region_only(region)", "blank", "noimage"),
    "swap": ("shuffled",),
    "geometry": ("mirrored(keep)", "mirrored(flip)"),
    "corruptions": (
        *("noise(0.1)", "blur", "jpeg", "gamma", "window", "bias_field", "gibbs", "spikes", "motion"),
        *("speckle", "low_dose"),
    ),
    "adversarial": ("fgsm(linf,4/255)", "pgd(linf,4/255,20)"),
    "options": tuple(f"rotated({by})" for by in range(1, MAX_OPTIONS)),
}
"""The text of each condition by the name of its family."""


def perturbations(families: Iterable[str], most_options: int = MAX_OPTIONS) -> tuple[list[Condition], list[str]]:
    """The conditions of some families, each once and in front of its control, and the reasons why some are left out:
    what they need is not installed.

    most_options: of any item; longer rotations apply to none. Raises UserError for a family that there is not.
    """
    found: dict[str, Condition] = {}
    reasons: list[str] = []
    for family in families:
        if family not in FAMILIES:
            raise UserError(f"no family of perturbations is called {family!r}: there are {', '.join(FAMILIES)}")
        texts: Sequence[str] = FAMILIES[family]
        for text in texts[: most_options - 1] if family == "options" else texts:
            try:
                condition = resolve(text)
            except UserError as error:
                reasons.append(str(error))
                continue
            found.setdefault(condition.key, condition)
            if condition.twin is not None:
                twin = resolve(condition.twin)
                found.setdefault(twin.key, twin)
    return list(found.values()), reasons
