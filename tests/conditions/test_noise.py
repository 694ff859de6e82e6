"""Noise is what it says, the same for an item wherever it stands, and never wraps round."""

from fractions import Fraction

import numpy as np
import pytest
from toy_conditions import flat, make_context, make_item

from medproof.conditions import prepare, resolve

BUDGETS = ["noise(0.1)", "random_sign(8/255)", "random_l2(2)"]


def noisy(text, image, name="i", seed=7):
    item = make_item(name)
    return prepare(resolve(text), [item], make_context([item], {item.image: image.copy()}, seed=seed))[0]


@pytest.mark.parametrize("text", BUDGETS)
def test_noise_keeps_the_mean(text):
    image = flat(128, 120, 140, 112, 112)
    done = noisy(text, image).image
    assert not np.array_equal(done, image)
    assert np.allclose(done.mean((0, 1)), image.mean((0, 1)), atol=1.5)


@pytest.mark.parametrize("text", BUDGETS)
@pytest.mark.parametrize("grey", [0, 2, 253, 255])
def test_black_and_white_do_not_wrap_round(text, grey):
    done = noisy(text, flat(grey, grey, grey)).image.astype(int)
    assert np.abs(done - grey).max() <= 160  # a wrap-round is 255 away
    assert abs(done.mean() - grey) < 30


def test_noise_has_its_standard_deviation():
    done = noisy("noise(0.1)", flat(128, 128, 128, 112, 112)).image.astype(float)
    assert done.std() == pytest.approx(25.5, rel=0.03)


def test_random_sign_moves_every_value_by_exactly_eps():
    view = noisy("random_sign(8/255)", flat(128, 128, 128))
    moved = view.image.astype(int) - 128
    assert set(np.unique(moved).tolist()) == {-8, 8}
    assert view.info == {"linf_255": 8.0, "l2": pytest.approx(8 / 255 * moved.size**0.5)}


@pytest.mark.parametrize("eps", ["0.1", "2", "0.7"])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_random_l2_has_length_eps_and_not_more(eps, grey):
    view = noisy(f"random_l2({eps})", flat(grey, grey, grey))
    squares = int(np.square(view.image.astype(int) - grey).sum())
    assert squares <= (Fraction(eps) * 255) ** 2
    assert view.info["l2"] == pytest.approx(float(Fraction(eps)), rel=0.03)


@pytest.mark.parametrize("text", BUDGETS)
def test_an_item_gets_its_own_noise_alone_or_in_a_batch(text):
    items = [make_item(f"i{n}") for n in range(5)]
    images = {item.image: flat(100, 120, 140) for item in items}
    together = prepare(resolve(text), items, make_context(items, images))
    assert len({view.pixels_sha256 for view in together}) == 5
    for item, view in zip(items, together):
        alone = prepare(resolve(text), [item], make_context([item], {item.image: images[item.image]}))[0]
        assert alone.pixels_sha256 == view.pixels_sha256
    assert noisy(text, images[items[0].image], "i0", seed=8).pixels_sha256 != together[0].pixels_sha256


def test_random_sign_of_zero_is_the_image():
    image = flat(1, 2, 3)
    assert np.array_equal(noisy("random_sign(0/255)", image).image, image)
