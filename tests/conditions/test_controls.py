"""Clean, blank, no image, and whose image an item gets when they are shuffled."""

import numpy as np
import pytest
from toy_conditions import make_context, make_item

from medproof.conditions import prepare, resolve
from medproof.conditions.swap import Donors, image_of


def views_of(text, context, items=None):
    return prepare(resolve(text), items or context.dataset.items, context)


@pytest.fixture
def crowd():
    """40 items of 13 patients, two questions, two modalities."""
    return [
        make_item(
            f"i{n:02}",
            patient=f"p{n % 13}",
            modality="CT" if n % 4 else "MRI",
            question="Which disease is shown?" if n % 3 else "Is it malignant?",
        )
        for n in range(40)
    ]


def test_clean_is_the_image_and_the_question(crowd):
    context = make_context(crowd)
    for item, view in zip(crowd, views_of("clean", context)):
        assert view.item is item
        assert view.condition == "clean"
        assert np.array_equal(view.image, context.load(item))
        assert [m.image for m in view.messages] == [True]
        assert item.image not in view.messages_json


def test_blank_is_mid_grey_of_the_same_size(crowd):
    context = make_context(crowd)
    for item, view in zip(crowd, views_of("blank", context)):
        assert view.image.shape == context.load(item).shape
        assert np.unique(view.image).tolist() == [128]


def test_noimage_sends_no_image_at_all(crowd):
    context = make_context(crowd)
    for view, usual in zip(views_of("noimage", context), views_of("clean", context)):
        assert view.image is None
        assert not any(m.image for m in view.messages)
        assert [m.text for m in view.messages] == [m.text for m in usual.messages]


def test_an_attack_prepares_the_clean_view_under_its_own_key(crowd):
    context = make_context(crowd)
    for view, usual in zip(views_of("pgd(linf,8/255)", context), views_of("clean", context)):
        assert view.condition == "pgd(linf,8/255,20)"
        assert view.pixels_sha256 == usual.pixels_sha256


def test_shuffled_is_a_derangement_within_modality_and_stem(crowd):
    by_id = {item.id: item for item in crowd}
    donors = Donors(crowd, seed=3)
    given = {item.id: next(donors.of(item)) for item in crowd}
    assert sorted(donor.id for donor in given.values()) == sorted(by_id)  # a permutation
    for name, donor in given.items():
        item = by_id[name]
        assert donor.image != item.image
        assert donor.cluster != item.cluster
        assert (donor.modality, donor.question) == (item.modality, item.question)


def test_shuffled_depends_on_the_seed_and_not_on_order_or_batch(crowd):
    context = make_context(crowd)
    whole = {v.item.id: v.pixels_sha256 for v in views_of("shuffled", context)}
    other_way = make_context(list(reversed(crowd)), {item.image: context.load(item) for item in crowd})
    single = {i.id: views_of("shuffled", other_way, [i])[0].pixels_sha256 for i in crowd[::3]}
    assert single == {name: whole[name] for name in single}
    reseeded = make_context(crowd, {item.image: context.load(item) for item in crowd}, seed=8)
    assert whole != {v.item.id: v.pixels_sha256 for v in views_of("shuffled", reseeded)}


def test_shuffled_never_gives_equal_pixels_from_another_file():
    items = [make_item(f"i{n}") for n in range(6)]
    same = np.full((28, 28, 3), 90, dtype=np.uint8)
    images = {item.image: same.copy() for item in items[:4]}
    context = make_context(items, images)
    for item, view in zip(items, views_of("shuffled", context)):
        assert not np.array_equal(view.image, context.load(item))


def test_shuffled_takes_another_image_of_the_patient_when_there_is_no_other_patient():
    items = [make_item(f"i{n}", patient="only") for n in range(3)]
    context = make_context(items)
    for item, view in zip(items, views_of("shuffled", context)):
        assert not np.array_equal(view.image, context.load(item))


def test_shuffled_prefers_another_patient_even_when_one_has_most_images():
    items = [make_item(f"i{n}", patient="many" if n < 7 else f"p{n}") for n in range(9)]
    donors = Donors(items, seed=0)
    assert all(next(donors.of(item)).cluster != item.cluster for item in items)


def test_shuffled_widens_to_question_type_then_modality_then_does_not_apply():
    lonely = make_item("a", question="A question of its own?")
    same_type = make_item("b", patient="b")
    other_type = make_item("c", question_type="Lesion Grading")
    elsewhere = make_item("d", modality="MRI")
    assert image_of(next(Donors([lonely, same_type, other_type, elsewhere], 0).of(lonely))) == image_of(same_type)
    assert image_of(next(Donors([lonely, other_type, elsewhere], 0).of(lonely))) == image_of(other_type)
    context = make_context([lonely, elsewhere])
    assert views_of("shuffled", context) == [None, None]


def test_two_questions_on_one_image_do_not_swap_it_with_itself():
    items = [make_item(f"i{n}", image=f"images/{n // 2}.png") for n in range(8)]
    context = make_context(items)
    for item, view in zip(items, views_of("shuffled", context)):
        assert not np.array_equal(view.image, context.load(item))
