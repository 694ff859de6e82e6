"""The question in other words. No torch.

- `paraphrase`: the same question in other words; the answer stays.
- `vague`: the question without what it asks for; the options still say it.
- `negated`: which option is *not* right; the other one is. Items of two options only, where that is one answer.
- `false_premise`: a question about a part of the body that the image does not show, with "Cannot be determined" behind
  the options: that is right then. `answerable` is its control: the item's own question with that option added.

Wordings are many and drawn per item from the seed.
"""

import re
from collections.abc import Sequence

from medproof.conditions.context import Context
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.parameters import choice
from medproof.datasets.questions import KINDS as STEMS
from medproof.records import MAX_OPTIONS, Condition, Expected, Item, View
from medproof.scoring.asked import asked
from medproof.scoring.refusal import is_refusal_option
from medproof.seeds import rng

_FRAMES = (
    "Look at the image. {}",
    "Please answer this question about the image: {}",
    "Here is an image. {}",
    "Study the picture, then answer. {}",
    "The following question is about the image shown. {}",
    "Question: {}",
    "With the image in front of you: {}",
    "Going by what you see: {}",
    "Consider this case. {}",
    "Judge from the image alone. {}",
)
_VAGUE = (
    "What about this image?",
    "Which option fits?",
    "What do you make of this?",
    "Which of these is it?",
    "What would you say here?",
    "Which one applies?",
    "What is right here?",
    "How would you describe this?",
    "Which of the following holds?",
    "What can be said of this image?",
)
_NEGATED = (
    "{} Choose the option that is NOT the right answer.",
    "{} Name the option that is wrong.",
    "{} Which option does NOT answer this?",
    "Which option is NOT the right answer to this question: {}",
    "Pick the option that does NOT apply. {}",
    "Which of the options is a wrong answer? {}",
    "{} Give the option that does NOT hold for this image.",
    "Rule one option out, the one that is NOT right. {}",
)
_PREMISES = (
    "Which option best describes the {finding} of the {part} in this image?",
    "This image shows the {finding} of the {part}. Which option fits it?",
    "Given the {finding} of the {part} seen here, which option is right?",
    "What can you say about the {finding} of the {part} that this image shows?",
    "The {part} in this image has a {finding}. Which option describes it?",
    "How would you classify the {finding} of the {part} shown?",
)
_FINDINGS = ("fracture", "swelling", "calcification", "deformity", "dislocation")
_PARTS = ("knee", "foot", "wrist", "ankle", "elbow", "thumb", "little toe", "kneecap")
_ELSEWHERE = frozenset(
    """
    brain head pituitary thyroid chest thorax lung lungs heart breast abdomen abdominal liver kidney kidneys spleen
    pancreas stomach colon rectum esophagus gastrointestinal prostate uterus eye retina retinal fundus skin blood
    cell cells tissue
    """.split()  # noqa: SIM905
)
"""Regions and tissues that show no part of a limb."""
_SUBJECT = "{subject}"

WORDINGS = ("paraphrase", "vague", "negated", "false_premise", "answerable")
_EXPECTED: dict[str, Expected] = {"negated": "flip", "false_premise": "refuse", "vague": "any"}


def reworded(item: Item, how: str, context: Context) -> tuple[Item, dict[str, float]] | None:
    """The item as it is asked, and the numbers that say so; None where the wording does not apply to it."""
    question, info = _question(item, how, context), {}
    if how == "negated" and len(item.options) == 2:
        info = {"gold": float(1 - item.answer_index)}
    if how in ("false_premise", "answerable"):
        # Both arms hold the same items: what has no false premise has no control.
        if len(item.options) == MAX_OPTIONS or any(map(is_refusal_option, item.options)) or not _no_limb(item):
            return None
        info = {"refusal_added": 1.0}
        if how == "false_premise":
            info["gold"] = float(len(item.options))
    if question is None:
        return None
    return asked(item, info).model_copy(update={"question": question}), info


def wording(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`wording(how)`."""
    found = [reworded(item, given["how"], context) for item in items]
    return [
        None if one is None else context.view(one[0], condition, context.load(item), one[1])
        for item, one in zip(items, found)
    ]


def _question(item: Item, how: str, context: Context) -> str | None:
    draw = rng(context.seed, item.id, f"wording {how}")

    def drawn(texts: Sequence[str]) -> str:
        return texts[int(draw.integers(len(texts)))]

    if how == "answerable":
        return item.question
    if how == "vague":
        return drawn(_VAGUE)
    if how == "negated":
        return drawn(_NEGATED).format(item.question) if len(item.options) == 2 else None
    if how == "false_premise":
        return drawn(_PREMISES).format(finding=drawn(_FINDINGS), part=drawn(_PARTS))
    others = _same_question(item)
    return drawn(others) if others else drawn(_FRAMES).format(item.question)


def _same_question(item: Item) -> list[str]:
    """Other stems of the same kind of question about the same subject; none where the question is of no known kind."""
    kinds = [kind for kind in STEMS.values() if kind.question_type == item.question_type]
    for kind in sorted(kinds, key=lambda kind: item.question not in kind.stems):
        for stem in kind.stems:
            pattern = re.escape(stem).replace(re.escape(_SUBJECT), "(.+)")
            if match := re.fullmatch(pattern, item.question):
                subject = match[1] if _SUBJECT in stem else ""
                return [other.replace(_SUBJECT, subject) for other in kind.stems if other != stem]
    return []


def _no_limb(item: Item) -> bool:
    """Whether the item's region is known, and shows no part of a limb."""
    return bool(_ELSEWHERE & set(re.findall(r"[a-z]+", (item.anatomy or "").casefold())))


KINDS = (
    Kind(
        "wording",
        f"the question in other words: {', '.join(WORDINGS)}",
        wording,
        (choice("how", WORDINGS),),
        expected=lambda given: _EXPECTED.get(given["how"], "keep"),
        twin=lambda given: {"false_premise": "wording(answerable)", "answerable": None}.get(given["how"], "clean"),
    ),
)
