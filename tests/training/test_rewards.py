"""Every built-in reward on planted completions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_groups import OPTIONS, make_group, make_item

from medproof.errors import UserError
from medproof.models.prompts import target_text
from medproof.records import MODES, Item, Mode, Response
from medproof.scoring.outcomes import outcome
from medproof.training.rewards import RewardSet, load_reward
from medproof.training.rewards.points import iou

PROBS = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda raw: [value / sum(raw) for value in raw])


def score(name: str, texts: list[str], mode: Mode = "direct", item: Item | None = None, **given: Any) -> list[float]:
    """What one reward gives for `texts`; `args` are its arguments, everything else columns on demand."""
    rewards = RewardSet([load_reward(name, args=given.pop("args", None))])
    values: list[float] = rewards.score([make_group(texts, item, mode)], given).rewards[0, :, 0].tolist()
    return values


ACCURACY = {
    "<answer>B</answer>": 1,
    "<answer>malignant lesion</answer>": 1,
    "The answer is (B)": 1,
    "<answer>A</answer>": 0,
    "<answer>A</answer> <answer>B</answer>": 0,
    "<answer>B": 0,
    "B or C, hard to say": 0,
    "I cannot tell.": 0,
    "": 0,
}


def test_accuracy_of_planted_replies() -> None:
    assert score("accuracy", list(ACCURACY)) == list(ACCURACY.values())


@given(text=st.text(alphabet="ABC<>/answerthik )(.\n", max_size=60), mode=st.sampled_from(MODES))
def test_accuracy_is_the_scorers(text: str, mode: Mode) -> None:
    text = f"{text}<answer>B</answer>" if "k" in text else text
    item = make_item()
    response = Response(key="k", item_id=item.id, condition="clean", mode=mode, text=text, image_sha256="0" * 64)
    assert score("accuracy", [text], mode, item) == [float(outcome(item, response).status == "correct")]


def test_a_refusal_option_can_be_the_right_answer() -> None:
    item = make_item(options=(*OPTIONS, "Cannot be determined"), answer="Cannot be determined")
    assert score("accuracy", ["<answer>D</answer>", "I cannot tell."], item=item) == [1, 0]


THINK = "<think>It is dark, < 5 mm.</think>"
ANSWER = "<answer>B</answer>"
WELL_FORMED: dict[Mode, list[str]] = {
    "direct": [ANSWER, f" {ANSWER}\n", "<answer>no such option</answer>"],
    "think": [THINK + ANSWER, f"{THINK}\n{ANSWER}\n"],
    "think_after": [ANSWER + THINK, f"{ANSWER}\n\n{THINK}"],
}
ILL_FORMED = [
    "",
    "B",
    f"Answer: {ANSWER}",
    f"{ANSWER}.",
    "<answer></answer>",
    "<answer> \n</answer>",
    "<answer>B",
    "B</answer>",
    "<Answer>B</Answer>",
    "< answer >B</answer>",
    f"{ANSWER}{ANSWER}",
    "<answer><answer>B</answer></answer>",
    f"<think></think>{ANSWER}",
    f"<think> </think>{ANSWER}",
    f"{THINK}{THINK}{ANSWER}",
    f"{THINK}so{ANSWER}",
    f"{THINK}{ANSWER}{THINK}",
    f"<think>x {ANSWER} y</think>",
    f"<think>x < / answer > y</think>{ANSWER}",
    "<answer>B<think>x</answer></think>",
    "<think>x<answer>B</answer>",
]


@pytest.mark.parametrize("mode", MODES)
def test_format_of_planted_replies(mode: Mode) -> None:
    assert score("format", WELL_FORMED[mode], mode) == [1] * len(WELL_FORMED[mode])
    others = [text for other in MODES if other != mode for text in WELL_FORMED[other]]
    ill = ILL_FORMED + [text for text in others if text not in WELL_FORMED[mode]]
    assert score("format", ill, mode) == [0] * len(ill)


@pytest.mark.parametrize("mode", MODES)
def test_what_supervised_training_teaches_is_well_formed(mode: Mode) -> None:
    assert score("format", [target_text(make_item(), mode)], mode) == [1]


def test_length_is_a_trapezoid() -> None:
    texts = ["x " * n for n in (0, 6, 8, 10, 15, 20, 21, 24, 25)]
    values = score("length", texts, args={"shortest": 10, "longest": 20, "margin": 4})
    assert values == [0, 0, 0.5, 1, 1, 1, 0.75, 0, 0]


@pytest.mark.parametrize("args", [{"shortest": 9, "longest": 8}, {"margin": 0}, {"shortest": -1}, {"longest": "x"}])
def test_length_refuses_what_is_no_range_at_once(args: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="reward 'length'"):
        load_reward("length", args=args)


def test_looks_of_planted_probabilities() -> None:
    seen = (0.2, 0.6, 0.2)
    cases = [
        (ANSWER, seen, seen, 0.0),  # the image changes nothing
        (ANSWER, seen, (0.5, 0.4, 0.1), 1.0),  # the answer changes
        (ANSWER, seen, (0.3, 0.45, 0.25), 0.25),  # it stays, with three quarters of its probability
        (ANSWER, seen, (0.1, 0.8, 0.1), 0.0),  # it is likelier without the image
        ("<answer>A</answer>", seen, (0.1, 0.7, 0.2), 0.5),  # not the likeliest option, and half as likely
        ("<answer>A</answer>", seen, seen, 0.0),
        ("<answer>A</answer>", (0.0, 1.0, 0.0), seen, 0.0),
        ("I cannot tell.", seen, (0.5, 0.4, 0.1), 0.0),  # nothing to read
        ("B or C", seen, (0.5, 0.4, 0.1), 0.0),
    ]
    texts, p, q, expected = zip(*cases, strict=True)
    assert score("looks", list(texts), option_probs=p, option_probs_blank=q) == pytest.approx(expected)


@given(p=PROBS, q=PROBS, letter=st.sampled_from("ABC"))
def test_looks_is_a_share_and_blindness_earns_nothing(p: list[float], q: list[float], letter: str) -> None:
    text = f"<answer>{letter}</answer>"
    (value,) = score("looks", [text], option_probs=[p], option_probs_blank=[q])
    assert 0 <= value <= 1
    assert score("looks", [text], option_probs=[p], option_probs_blank=[p]) == [0]


def test_looks_says_what_it_needs() -> None:
    assert RewardSet([load_reward("accuracy"), load_reward("looks")]).needs == {"option_probs", "option_probs_blank"}


BOXES = [{"label": "lesion", "xyxy": [0, 0, 100, 50]}, {"label": "lesion", "xyxy": [100, 50, 200, 100]}]
WITH_BOXES = {"width": 200, "height": 100, "evidence": {"boxes": BOXES}}
HIT = "<box>0 0 500 500</box>"


def test_points_of_planted_boxes() -> None:
    cases = {
        HIT: 1.0,
        f"It is here: <box> 500 500\n1000 1000 </box>. {ANSWER}": 1.0,
        "<box>250 0 500 500</box>": 0.5,
        "<box>250 0 750 500</box>": 1 / 3,
        "<box>500 0 1000 500</box>": 0.0,
        f"{HIT} <box>500 0 1000 500</box>": 0.5,
        f"{HIT}{HIT}": 1.0,
        f"{HIT} <box>0 0 500</box>": 0.5,
        "no box": 0.0,
        "<box>0 0 500</box>": 0.0,
        "<box>0 0 500 500 500</box>": 0.0,
        "<box>0,0,500,500</box>": 0.0,
        "<box>0 0 500.0 500</box>": 0.0,
        "<box>-1 0 500 500</box>": 0.0,
        "<box>500 500 0 0</box>": 0.0,
        "<box>0 0 500 1001</box>": 0.0,
        "<box>0 0 500 500": 0.0,
    }
    assert score("points", list(cases), item=make_item(**WITH_BOXES)) == pytest.approx(list(cases.values()))


@pytest.mark.parametrize("item", [make_item(), make_item(**(WITH_BOXES | {"width": None}))])
def test_points_does_not_apply_without_boxes(item: Item) -> None:
    assert all(math.isnan(value) for value in score("points", [HIT, ""], item=item))


BOX = st.tuples(*[st.integers(0, 20)] * 4).filter(lambda b: b[0] < b[2] and b[1] < b[3])


@given(a=BOX, b=BOX)
def test_iou_counts_cells(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> None:
    def cells(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    assert iou(a, b) == pytest.approx(len(cells(a) & cells(b)) / len(cells(a) | cells(b)))
    assert iou(a, b) == iou(b, a)
