"""The example stream: a pure function of seed and step, weights, modes, and augmentation that keeps labels."""

import numpy as np
import pytest

from medproof.images.grid import Grid
from medproof.models.nano import GRID
from medproof.records import Item, QuestionType
from medproof.training.augment import augment, may_flip
from medproof.training.examples import ExampleStream, shuffle_options
from medproof.training.recipe import Recipe
from medproof.training.sections import Augment


def item(number: int, kind: QuestionType = "Disease Diagnosis", where: str = "") -> Item:
    return Item(
        id=f"i{number}",
        image="x.png",
        case=f"i{number}",
        modality="CT",
        question_type=kind,
        question="What is it?",
        options=("a", "b", "c"),
        answer="b",
        facts={"where": where} if where else {},
    )


ITEMS = [item(i) for i in range(10)] + [item(i, "Modality Recognition") for i in range(10, 20)]
PIXELS = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def stream(**data: object) -> ExampleStream:
    recipe = Recipe.model_validate({"data": data, "optim": {"batch_size": 5}})
    return ExampleStream(lambda epoch: ITEMS, lambda item: PIXELS, GRID, recipe)


def test_a_step_is_the_same_whenever_it_is_asked() -> None:
    one, two = stream(), stream()
    for step in (7, 0, 3, 7):
        for a, b in zip(one.batch(step), two.batch(step), strict=True):
            assert a.item.id == b.item.id
            assert a.mode == b.mode
            np.testing.assert_array_equal(a.image, b.image)


def test_an_epoch_shows_every_item_once() -> None:
    s = stream()
    for first in (0, 4, 8):
        seen = [e.item.id for step in range(first, first + 4) for e in s.batch(step)]
        assert sorted(seen) == sorted(i.id for i in ITEMS)


def test_weights_repeat_and_drop_question_types() -> None:
    s = stream(curriculum=[{"weights": {"Disease Diagnosis": 2.0, "Modality Recognition": 0.0}}])
    seen = [e.item.id for step in range(4) for e in s.batch(step)]
    assert sorted(seen) == sorted([i.id for i in ITEMS[:10]] * 2)


def test_phases_wait_for_their_epoch() -> None:
    s = stream(
        curriculum=[{"from_epoch": 1, "weights": {"Modality Recognition": 0.0}}, {"from_epoch": 2, "weights": {}}]
    )
    steps = (range(4), range(4, 8), range(8, 12))
    first, second, third = ({e.item.id for step in epoch for e in s.batch(step)} for epoch in steps)
    assert first == third == {i.id for i in ITEMS}
    assert second == {i.id for i in ITEMS[:10]}


def test_modes_follow_their_weights() -> None:
    s = stream(modes={"direct": 0.25, "think": 0.75})
    modes = [e.mode for step in range(120) for e in s.batch(step)]
    assert 0.65 < modes.count("think") / len(modes) < 0.85


def test_shuffled_options_keep_the_answer_and_spread_it() -> None:
    letters = [shuffle_options(ITEMS[0], seed).answer_letter for seed in range(90)]
    assert all(20 <= letters.count(letter) <= 40 for letter in "ABC")
    assert shuffle_options(ITEMS[0], 1).answer == "b"


def test_no_augmentation_is_plain_rendering() -> None:
    plain = augment(PIXELS, ITEMS[0], GRID, Augment(), np.random.default_rng(0))
    np.testing.assert_array_equal(plain, GRID.render(PIXELS))


@pytest.mark.parametrize("seed", range(5))
def test_augmented_images_stay_on_the_grid_of_the_whole_image(seed: int) -> None:
    how = Augment(crop=0.2, gain=0.3, gamma=0.3, flip=True)
    out = augment(PIXELS, ITEMS[0], GRID, how, np.random.default_rng(seed))
    assert out.shape == (*GRID.size(90, 120), 3)
    assert out.dtype == np.uint8
    assert not np.array_equal(out, GRID.render(PIXELS))


def test_intensity_changes_never_wrap_round() -> None:
    """Brighter stays brighter: no grey level may jump to the other end."""
    ramp = np.repeat(np.arange(0, 112, dtype=np.uint8)[None, :, None], 112, axis=0).repeat(3, axis=2) * 2
    for seed in range(10):
        out = augment(ramp, ITEMS[0], Grid(max_pixels=112 * 112), Augment(gain=0.5), np.random.default_rng(seed))
        assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "where", "allowed"),
    [
        ("Disease Diagnosis", "", True),
        ("Disease Diagnosis", "upper left of the image", False),
        ("Other Biological Attributes", "", False),
        ("Anatomy Identification", "", False),
        ("Modality Recognition", "", True),
    ],
)
def test_no_flip_where_a_side_may_be_asked_or_told(kind: QuestionType, where: str, allowed: bool) -> None:
    assert may_flip(item(0, kind, where)) is allowed
