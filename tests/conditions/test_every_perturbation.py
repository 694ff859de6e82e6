"""What holds for all conditions that are no attacks: documented numbers, a control, an image of the same size."""

import numpy as np
import pytest
from toy_conditions import make_context, make_item

from medproof.conditions import names, prepare, resolve
from medproof.conditions.numbers import NUMBERS, PERTURBED
from medproof.conditions.registry import kinds
from medproof.records import Box, Evidence
from medproof.scoring.asked import asked

TEXTS = (
    *(f"{name}({which},{source})" for name in ("hint", "pushback") for which in ("wrong", "neutral")
      for source in ("authority", "self_doubt")),
    *(f"hint(correct,image={image})" for image in ("blank", "noimage", "box_true", "box_wrong", "box_elsewhere")),
    *(f"wording({how})" for how in ("paraphrase", "vague", "negated", "false_premise", "answerable")),
    *(f"cue({shape},{where})" for shape in ("box", "circle", "arrow") for where in ("true", "wrong", "elsewhere")),
    *(f"burned_in({text})" for text in ("correct", "wrong", "neutral")),
    *(f"marker({side})" for side in ("correct", "wrong", "neutral")),
    *("masked(region)", "masked(elsewhere,mean)", "region_only(region)", "region_only(elsewhere)"),
    *("mirrored(keep)", "mirrored(flip)", "rotated(1)"),
    *("blur", "jpeg", "gamma", "window", "motion", "speckle", "low_dose"),
)  # fmt: skip
FACTS = {"mirror": "keep"}


def crowd():
    """Items to each of which some conditions apply."""
    seen = Evidence(boxes=(Box(label="x", xyxy=(20, 10, 40, 30)),))
    for place, modality in enumerate(("CT", "MRI", "Ultrasound", "X-Ray") * 3):
        options, answer = (("upper left", "upper right"), "upper left") if place % 3 else (("yes", "no"), "no")
        facts = {} if place % 3 else FACTS
        yield make_item(
            f"i{place:02}",
            modality=modality,
            anatomy="chest",
            options=options,
            answer=answer,
            facts=facts,
            evidence=seen,
            width=112,
            height=112,
        )


@pytest.fixture(scope="module")
def context():
    items = list(crowd())
    noise = np.random.default_rng(0)
    images = {item.image: noise.integers(0, 256, (112, 112, 3), dtype=np.uint8) for item in items}
    return make_context(items, images)  # images are read-only: a condition that writes to them raises


@pytest.mark.parametrize("text", TEXTS)
def test_it_applies_says_what_it_did_and_has_its_control(text, context):
    condition = resolve(text)
    items = context.dataset.items
    views = prepare(condition, items, context)
    assert any(view is not None for view in views)
    control = [None] * len(items) if condition.twin is None else prepare(resolve(condition.twin), items, context)
    for item, view, other in zip(items, views, control, strict=True):
        if view is None:
            assert other is None or condition.twin == "clean"
            continue
        assert view.item.id == item.id
        assert view.condition == condition.key
        assert set(view.info) <= set(PERTURBED) | set(NUMBERS)
        read = asked(item, view.info)
        assert (read.options, read.answer) == (view.item.options, view.item.answer)
        if view.image is not None:
            assert view.image.shape == context.load(item).shape
        if condition.twin is not None:
            assert other is not None
            if condition.expected != "flip":
                assert other.item.options == view.item.options


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_the_same_alone_and_together(text, context):
    items = context.dataset.items
    together = prepare(resolve(text), items, context)
    for item, view in zip(items[::5], together[::5]):
        (alone,) = prepare(resolve(text), [item], context)
        assert (alone is None) == (view is None)
        if alone is not None:
            assert (alone.pixels_sha256, alone.messages, alone.info) == (view.pixels_sha256, view.messages, view.info)


def test_all_kinds_are_looked_at():
    elsewhere = {"clean", "blank", "noimage", "shuffled", "noise", "random_sign", "random_l2"}
    elsewhere |= {"bias_field", "gibbs", "spikes"}  # with MONAI only
    elsewhere |= {"steps"}  # of chains: test_protocols
    attacks = {kind.name for kind in kinds().values() if kind.perturb and kind.name != "pushback"}
    assert {text.split("(")[0] for text in TEXTS} == set(kinds()) - elsewhere - attacks
    assert len(names()) == len(kinds())
