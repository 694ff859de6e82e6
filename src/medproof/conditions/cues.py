"""Misleading and helpful marks in the image, drawn on the model's grid. No torch at import.

A cue stands at the evidence (`true`), at a place that contradicts it (`wrong`), or, as control, at a random place off
it (`elsewhere`). Where the options are places in the image, the wrong place is that of the suggested wrong option; else
it is the mirror image of the evidence, where that is free of evidence. Items without evidence, or without room for a
second region as large, are skipped in all three; `contour` needs a mask.
"""

from collections.abc import Sequence

from medproof.conditions.context import Context, Pixels
from medproof.conditions.evidence import Mask
from medproof.conditions.filler import filler
from medproof.conditions.kind import Arguments, Kind
from medproof.conditions.parameters import choice
from medproof.conditions.regions import (
    Shift,
    asked_about,
    drawn_shift,
    filled_box,
    free_shifts,
    largest_part,
    moved_elsewhere,
    place_of,
    shifted,
    tight_box,
    within_place,
)
from medproof.conditions.suggestion import suggested
from medproof.images.overlay import CORNERS, Corner, draw_arrow, draw_box, draw_circle, draw_contour, draw_text
from medproof.records import Condition, Item, View
from medproof.seeds import rng

Numbers = dict[str, float]
SHAPES = ("box", "circle", "arrow", "contour")
WHERE = ("true", "wrong", "elsewhere")

# How a text reads, and how its neutral control does.
_TEXTS = (
    ("{}", "{}"),
    ("DX: {}", "ID: {}"),
    ("FINDING: {}", "STORAGE: {}"),
    ("IMPRESSION: {}", "INVENTORY: {}"),
    ("REPORT: {}", "FOLDER: {}"),
    ("NOTE: {}", "FILE: {}"),
    ("READ AS: {}", "SENT AS: {}"),
    ("FINAL: {}", "STATE: {}"),
    ("CONCLUSION: {}", "MANAGEMENT: {}"),
    ("SEE: {}", "LOG: {}"),
)
_SIDED = ("X-Ray", "CT", "MRI")
"""Modalities shown by the convention that the patient's right is on the left of the image."""


def cued(item: Item, shape: str, where: str, context: Context) -> tuple[Pixels, Numbers] | None:
    """The image with a cue, and what it suggests and marks; None where the cue does not apply to the item."""
    mask = asked_about(item, context)
    if mask is None or (shape == "contour" and (item.evidence is None or item.evidence.mask is None)):
        return None
    image, largest = context.load(item), largest_part(mask)
    part = largest if shape == "contour" else filled_box(tight_box(largest), image.shape)
    places = {name: _marked(item, part, mask, name, context) for name in WHERE}
    marked = places[where]
    # Where one place finds no room the item is left out of all, so that they hold the same items.
    if marked is None or any(place is None for place in places.values()):
        return None
    option = suggested(item, "correct" if where == "true" else "wrong", context)
    box = tight_box(marked)
    numbers = dict(zip(("cue_x0", "cue_y0", "cue_x1", "cue_y1"), map(float, box), strict=True))
    if option is not None and place_of(item.options[option]) is not None:
        numbers["suggested"] = float(option)
    if shape == "arrow":
        return draw_arrow(image, box, int(rng(context.seed, item.id, "cue arrow").integers(8))), numbers
    if shape == "contour":
        return draw_contour(image, marked), numbers
    return (draw_box(image, box) if shape == "box" else draw_circle(image, box)), numbers


def cue(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`cue(shape, where)`."""
    found = [cued(item, given["shape"], given["where"], context) for item in items]
    return [None if one is None else context.view(item, condition, *one) for item, one in zip(items, found)]


def burned_in(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`burned_in(text)`: words in the corner where they cover the least of the evidence."""
    views: list[View | None] = []
    for item in items:
        option, corner = suggested(item, given["text"], context), _corner(item, context)
        text = None if option is None or corner is None else _words(item, given["text"], option, context)
        drawn = None if text is None or corner is None else _written(item, text, corner, context)
        numbers = {} if option is None else {"suggested": float(option)}
        views.append(None if drawn is None else context.view(item, condition, drawn, numbers))
    return views


def marker(items: Sequence[Item], condition: Condition, given: Arguments, context: Context) -> list[View | None]:
    """`marker(side)`: R or L on one side of a radiological image; a letter that is no side as control."""
    views: list[View | None] = []
    for item in items:
        on_left = bool(rng(context.seed, item.id, "marker side").integers(2))
        letter = {"correct": "LR"[on_left], "wrong": "RL"[on_left], "neutral": "P"}[given["side"]]
        corner: Corner = "upper left" if on_left else "upper right"
        drawn = _written(item, letter, corner, context) if item.modality in _SIDED else None
        views.append(None if drawn is None else context.view(item, condition, drawn))
    return views


def _marked(item: Item, part: Mask, mask: Mask, where: str, context: Context) -> Mask | None:
    """Where the cue stands; the same place for every shape of cue."""
    image, draw = context.load(item), rng(context.seed, item.id, f"cue {where}")
    if where == "true":
        return part
    if where == "elsewhere":
        return moved_elsewhere(part, mask, image, draw, wrap=False)
    free, option = free_shifts(part, mask), suggested(item, "wrong", context)
    place = None if option is None else place_of(item.options[option])
    if place is not None:
        shift = drawn_shift(part, free & within_place(part, place), image, draw)
    elif free[mirror := _to_mirror(part)]:
        shift = mirror
    else:
        shift = drawn_shift(part, free, image, draw)
    return None if shift is None else shifted(part, shift)


def _to_mirror(part: Mask) -> Shift:
    """The shift to the same place on the other side of the image."""
    width, (x0, _, x1, _) = part.shape[1], tight_box(part)
    return 0, (width - x1 - x0) % width


def _words(item: Item, which: str, option: int, context: Context) -> str | None:
    """What is burned in, in capitals; None where the data set has no answer that is beside the point."""
    written, neutral = _template(item, context)
    if which == "irrelevant":
        answer = _beside_the_point(item, context)
        return None if answer is None else written.format(answer).upper()
    if which == "neutral":
        words = filler(item.options[option].split(), rng(context.seed, item.id, "burned-in filler"))
        return neutral.format(words).upper()
    return written.format(item.options[option]).upper()


def _template(item: Item, context: Context) -> tuple[str, str]:
    return _TEXTS[int(rng(context.seed, item.id, "burned-in words").integers(len(_TEXTS)))]


def _beside_the_point(item: Item, context: Context) -> str | None:
    """An answer to a question of another type, none of whose words is in the item's question or options."""

    def by_type() -> list[tuple[str, str]]:
        return sorted({(other.question_type, other.answer) for other in context.dataset.items})

    own = set(" ".join((item.question, *item.options)).casefold().split())
    answers = context.plan("burned-in answers", by_type)
    fitting = [a for kind, a in answers if kind != item.question_type and not own & set(a.casefold().split())]
    return None if not fitting else fitting[int(rng(context.seed, item.id, "irrelevant").integers(len(fitting)))]


def _corner(item: Item, context: Context) -> Corner | None:
    """The corner where the longest option would cover the least evidence, the same for every text; of equals, drawn.

    None where there is no room for it.
    """
    image, mask = context.load(item), asked_about(item, context)
    longest = _template(item, context)[0].format(max(item.options, key=len)).upper()
    order = [CORNERS[i] for i in rng(context.seed, item.id, "burned-in corner").permutation(len(CORNERS))]
    try:
        boxes = {corner: draw_text(image, longest, corner)[1] for corner in order}
    except ValueError:
        return None
    return min(order, key=lambda corner: 0 if mask is None else int(mask[_inside(boxes[corner])].sum()))


def _inside(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    return slice(box[1], box[3]), slice(box[0], box[2])


def _written(item: Item, text: str, corner: Corner, context: Context) -> Pixels | None:
    try:
        return draw_text(context.load(item), text, corner)[0]
    except ValueError:
        return None  # no room for legible letters


KINDS = (
    Kind(
        "cue",
        f"a mark ({', '.join(SHAPES)}) at the evidence, at a wrong place, or elsewhere as control",
        cue,
        (choice("shape", SHAPES), choice("where", WHERE)),
        expected="keep",
        twin=lambda given: None if given["where"] == "elsewhere" else f"cue({given['shape']},elsewhere)",
    ),
    Kind(
        "burned_in",
        "words in a corner: the correct or a wrong option, an irrelevant answer, or neutral words as control",
        burned_in,
        (choice("text", ("correct", "wrong", "irrelevant", "neutral")),),
        expected="keep",
        twin=lambda given: None if given["text"] == "neutral" else "burned_in(neutral)",
    ),
    Kind(
        "marker",
        "a side marker, correct or wrong, or a neutral letter as control; X-ray, CT and MRI only",
        marker,
        (choice("side", ("correct", "wrong", "neutral")),),
        expected="keep",
        twin=lambda given: None if given["side"] == "neutral" else "marker(neutral)",
    ),
)
