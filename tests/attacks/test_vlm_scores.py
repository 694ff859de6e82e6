"""Scores of VLMs on a model of a few lines: what they ask, how often, and what they call adversarial."""

import math

import pytest
import torch

from medproof.attacks.vlm import EncoderScore, LetterQueries, OptionQueries, RationaleScore, Reader, StopScore
from medproof.attacks.vlm.targets import TargetedSweep
from medproof.models.protocol import Reply
from medproof.records import Decoding, Item, Message, View

OPTIONS = ("lung cancer", "no finding", "pneumonia")


def make_view(name="a", mode="think", image=None):
    item = Item(
        id=name,
        image="a.png",
        case=name,
        modality="CT",
        question_type="Disease Diagnosis",
        question="Which disease?",
        options=OPTIONS,
        answer=OPTIONS[0],
    )
    grey = torch.full((28, 28, 3), 128, dtype=torch.uint8).numpy() if image is None else image
    return View(item, "pgd(linf,8/255)", mode, (Message(role="user", text="?", image=True),), grey)


class Model:
    """Its thought is the image's grey level; a sampled one adds the last digit of the seed. Options score by prefix."""

    name = "toy"

    def __init__(self):
        self.asked, self.decoded = [], []

    def decoding(self, mode):
        return Decoding(max_new_tokens=8)

    def generate(self, views, decoding, seed=0):
        self.decoded.append((len(views), decoding.temperature))
        more = seed % 10 if decoding.temperature else 0
        return [Reply(self.reply(int(view.image.flat[0]), more), 1, 1, False) for view in views]

    def reply(self, level, more):
        return f"<think>{level + more}</think><answer>{'B' if level > 200 else 'A'}</answer>"

    def loss(self, pixels, views, objective="margin", prefixes=None):
        self.asked.append((list(pixels), list(prefixes)))
        levels = torch.tensor([float(p.split("<think>")[1].split("<")[0]) for p in prefixes])
        return torch.stack([x.mean() for x in pixels]) + levels - 150

    def letter_logprobs(self, pixels, views, prefixes=None):
        return [torch.stack([x.mean() * 0, x.mean(), x.mean() * 2]).log_softmax(0) for x in pixels]

    def continuation_logprobs(self, pixels, views, texts, prefixes=None):
        likely = {"<answer>B</answer>": -3.0, "<think></think><answer>C</answer>": -1.0}
        return torch.stack([x.mean() * 2 - 1 + likely.get(text, -9.0) for x, text in zip(pixels, texts)])

    def features(self, pixels):
        return [x.flatten(1).T for x in pixels]

    def option_logprobs(self, views, prefixes=None):
        return [torch.tensor([0.0, float(v.image.mean()) / 255 - 0.5, -1.0]).numpy() for v in views]


def grey(level):
    return torch.full((3, 28, 28), level / 255)


def rationale(model, views, **settings):
    return RationaleScore(model, Reader(model, views, seed=5), **settings)


def test_without_every_the_rationale_stays_that_of_the_first_image():
    model = Model()
    score = rationale(model, [make_view()])
    for level in (100, 160, 220):
        loss, adversarial = score([grey(level)], [0])
        assert float(loss) == pytest.approx(level / 255 + 100 - 150)
        assert not adversarial
    assert model.decoded == [(1, 0.0)]
    assert score.reader.generations == [1]


def test_with_every_it_is_written_anew_and_the_verdict_is_the_reply():
    model = Model()
    score = rationale(model, [make_view()], every=2)
    verdicts = [bool(score([grey(level)], [0])[1]) for level in (100, 120, 130, 140, 160, 170, 210)]
    # Written at calls 0, 2, 4 and 6; at 4 the margin is above 0 and the reply right, at 5 asked because of the margin.
    assert verdicts == [False] * 6 + [True]
    assert [prefixes[0].split("<")[1] for _, prefixes in model.asked] == [
        f"think>{level}" for level in (100, 100, 130, 130, 160, 160, 210)
    ]
    assert score.reader.generations == [5]


def test_counters_are_per_example():
    model = Model()
    score = rationale(model, [make_view("a"), make_view("b")], every=2)
    score([grey(100), grey(110)], [0, 1])
    score([grey(120)], [0])
    score([grey(130), grey(140)], [0, 1])
    assert model.asked[-1][1] == ["<think>130</think><answer>", "<think>110</think><answer>"]
    assert score.reader.generations == [2, 1]


def test_sampled_rationales_are_averaged_and_equal_ones_asked_once():
    model = Model()
    model.reply = lambda level, more: f"<think>{level + more % 2}</think><answer>A</answer>"
    score = rationale(model, [make_view()], draws=5)
    image = grey(100)
    loss, _ = score([image], [0])
    mean = sum(float(text.split("<think>")[1].split("<")[0]) for text in score.prefixes[0]) / 5
    assert float(loss) == pytest.approx(100 / 255 + mean - 150)
    pixels, prefixes = model.asked[-1]
    assert len(prefixes) == len(set(prefixes)) == len(set(score.prefixes[0])) == 2
    assert all(x is image for x in pixels), "one tensor, so that the model encodes it once"
    assert model.decoded == [(1, 1.0)] * 5
    assert score.reader.generations == [5]


def test_stop_takes_the_likeliest_short_form_and_is_certain_above_one_half():
    score = StopScore(Model(), [make_view("a"), make_view("b", mode="direct")], [grey(128)] * 2)
    assert score.texts == ["<think></think><answer>C</answer>", "<answer>B</answer>"]
    assert score.opening_forwards == [4, 2]
    loss, adversarial = score([grey(128), grey(255)], [0, 0])
    assert loss.tolist() == pytest.approx([2 * 128 / 255 - 2, 0], abs=1e-5)
    assert adversarial.tolist() == [False, True]
    assert float(loss[0]) < math.log(0.5)


def test_encoder_is_a_relative_distance_and_never_a_verdict():
    score = EncoderScore(Model(), [grey(100), grey(50)])
    loss, adversarial = score([grey(100), grey(75)], [0, 1])
    assert loss.tolist() == pytest.approx([0, 0.25])
    assert adversarial.tolist() == [False, False]


def test_targets_are_ranked_on_the_clean_image_and_any_wrong_option_counts():
    sweep = TargetedSweep(Model(), [make_view()], [grey(128)])
    assert sweep.ranked == [[2, 1]]
    assert sweep.wrong == [2]
    for rank, factor in ((0, 2), (1, 1)):
        loss, adversarial = sweep.score_for(rank)([grey(51)], [0])
        assert float(loss) == pytest.approx(0.2 * factor)
        assert adversarial.tolist() == [True]


def test_queries_read_options_or_the_letter():
    model = Model()
    views = [make_view("a", "direct"), make_view("b", "direct")]
    loss, adversarial = OptionQueries(model, Reader(model, views, 0))([grey(100), grey(200)], [0, 1])
    assert loss.tolist() == pytest.approx([100 / 255 - 0.5, 200 / 255 - 0.5])
    assert adversarial.tolist() == [False, True]
    loss, adversarial = LetterQueries(Reader(model, views, 0))([grey(100), grey(210)], [0, 1])
    assert loss.tolist() == [0, 1]
    assert adversarial.tolist() == [False, True]


def test_a_part_counts_for_the_whole():
    reader = Reader(Model(), [make_view("a"), make_view("b"), make_view("c")], 0)
    part = reader.part([2, 0])
    part.replies([grey(9)], [0])
    reader.adopt(part, [2, 0])
    assert reader.generations == [0, 0, 1]
