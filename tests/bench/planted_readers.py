"""Models with one planted habit each. What they reply follows from the pixels and the text they are shown alone."""

import re
from dataclasses import dataclass, field

import numpy as np

from medproof.images.grid import Grid
from medproof.models.prompts import rationale
from medproof.models.protocol import Reply
from medproof.records import LETTERS, Decoding

GRID = Grid(min_pixels=28 * 28, max_pixels=112 * 112)
_ASKED = re.compile(r"^(?:(\d+)\. )?([^\n]+)\n((?:[A-J]\) [^\n]+\n)+)", re.MULTILINE)
_STATED = re.compile(r"^\d+\. ([^\n]+) Answer: ([^\n]+)$", re.MULTILINE)


@dataclass
class Reader:
    """Knows the pictures of a data set by their evidence (the whole picture where that is no box), and the answers of
    the one it sees; says A where it recognises none. Batches are logged."""

    dataset: object
    load: object
    asked: list = field(default_factory=list)
    name = "planted"
    weights_hash = processor_hash = "0" * 64
    grid = GRID

    def __post_init__(self):
        self.answers = {}
        self.seen = {}
        for item in self.dataset.items:
            self.answers[item.case, item.question] = item.answer
            crop = crop_of(item, self.load(item))
            if crop is not None or item.case not in self.seen:
                self.seen[item.case] = crop or (slice(None), slice(None)), self.load(item)

    def decoding(self, mode):
        return Decoding(max_new_tokens=32)

    def cost(self, view):
        return 10

    def generate(self, views, decoding, seed=0):
        self.asked += [f"{view.condition} {view.item.id}" for view in views]
        return [Reply(self.reply(view), 7, 5, False) for view in views]

    def reply(self, view):
        text, case = view.messages[-1].text, self.recognise(view.image)
        asked = [(number, question, options_of(block)) for number, question, block in _ASKED.findall(text)]
        lines = []
        for number, question, options in asked:
            letter = LETTERS[self.choose(case, question, options, text)]
            lines.append(f"{number}{': ' * bool(number)}<answer>{letter}</answer>")
        return self.thought(case, asked) * (view.mode == "think") + "\n".join(lines)

    def recognise(self, image):
        if image is None:
            return None
        matches = (case for case, (crop, own) in self.seen.items() if np.array_equal(image[crop], own[crop]))
        return next(matches, None)

    def choose(self, case, question, options, text):
        """Index of the option it takes."""
        answer = self.answers.get((case, question))
        return options.index(answer) if answer in options else 0

    def thought(self, case, asked):
        return "<think>It is plain.</think>"


def crop_of(item, image):
    """The inside of the item's boxes on the grid."""
    if item.evidence is None or not item.evidence.boxes:
        return None
    x0, y0, x1, y1 = item.evidence.boxes[0].xyxy
    height, width = image.shape[:2]
    rows = slice(int(y0 * height / item.height) + 3, int(y1 * height / item.height) - 3)
    return rows, slice(int(x0 * width / item.width) + 3, int(x1 * width / item.width) - 3)


def options_of(block):
    return [line.partition(") ")[2] for line in block.splitlines()]


class Blind(Reader):
    """Ignores the image: one option for one text."""

    def choose(self, case, question, options, text):
        return sum(map(ord, question)) % len(options)


class Follower(Reader):
    """Takes the option that a sentence behind the options names, by text or by letter."""

    def choose(self, case, question, options, text):
        hint = text.splitlines()[-2]
        said = [n for n, option in enumerate(options) if hint.endswith((f" {option}.", f" {LETTERS[n]}) {option}."))]
        # Of two that fit ("lesion", "no lesion") the longer one was named.
        return max(said, key=lambda n: len(options[n])) if said else super().choose(case, question, options, text)


class AlwaysA(Reader):
    def choose(self, case, question, options, text):
        return 0


class WrongSteps(Reader):
    """Right in the assessment (S4), wrong in every step before."""

    def __post_init__(self):
        super().__post_init__()
        self.last = {item.question for item in self.dataset.items if item.stage == "S4"}

    def choose(self, case, question, options, text):
        right = super().choose(case, question, options, text)
        return right if question in self.last else (right + 1) % len(options)


class Believer(Reader):
    """Wrong where nothing was answered before; else right if, and only if, all that is stated as answered is right."""

    def choose(self, case, question, options, text):
        right, stated = super().choose(case, question, options, text), _STATED.findall(text)
        sound = stated and all(self.answers[case, step] == answer for step, answer in stated)
        return right if sound else (right + 1) % len(options)


class Storyteller(Reader):
    """Right letters, and a story of another modality, another part of the body and another conclusion."""

    def thought(self, case, asked):
        (_, question, options) = asked[0]
        wrong = options[(self.choose(case, question, options, "") + 1) % len(options)]
        return f"<think>This is CT. It shows the brain. So the answer is {wrong}.</think>"


class Honest(Reader):
    """Right letters, and the annotations of what it is asked."""

    def thought(self, case, asked):
        item = next(i for i in self.dataset.items if (i.case, i.question) == (case, asked[0][1]))
        return f"<think>{rationale(item)}</think>"
