"""Corruptions corrupt: more with severity, without shifting the mean or wrapping round, and grey stays grey."""

import importlib.util
from itertools import pairwise

import numpy as np
import pytest
from toy_conditions import flat, make_context, make_item

from medproof.conditions import prepare, resolve
from medproof.conditions.corruptions import KINDS, gamma, on_grey, window
from medproof.errors import UserError

MODALITY = {"bias_field": "MRI", "gibbs": "MRI", "motion": "MRI", "spikes": "MRI", "speckle": "Ultrasound"}
MONAI = ("bias_field", "gibbs", "spikes")
NAMES = [
    pytest.param(kind.name, marks=pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI"))
    if kind.name in MONAI
    else kind.name
    for kind in KINDS
]


def phantom(size=96):
    """A grey disc with a bright and a dark spot."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    grey = 120.0 * (np.hypot(x, y) < 0.4) + 60 * (np.hypot(x - 0.1, y) < 0.1) - 50 * (np.hypot(x + 0.15, y) < 0.08)
    return np.repeat((grey + 20).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def corrupted(text, image, seed=7, name="i", modality=None):
    kind = text.split("(")[0]
    item = make_item(name, modality=modality or MODALITY.get(kind, "CT"))
    context = make_context([item], {item.image: image.copy()}, seed=seed)
    return prepare(resolve(text), [item], context)[0]


@pytest.mark.parametrize("name", NAMES)
def test_it_grows_with_severity_and_grey_stays_grey(name):
    image = phantom()
    changes = []
    for severity in range(1, 6):
        views = [corrupted(f"{name}({severity})", image, seed) for seed in range(3)]
        for view in views:
            assert view.image.dtype == np.uint8
            assert view.image.shape == image.shape
            assert np.ptp(view.image, axis=2).max() <= (2 if name == "jpeg" else 0)
        changes.append(np.mean([view.info["l2"] for view in views]))
    assert changes[0] > 0
    assert changes[-1] > 1.5 * changes[0]
    assert all(after > 0.9 * before for before, after in pairwise(changes))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("gamma", "window")])
def test_the_mean_stays(name):
    image = phantom()
    assert corrupted(f"{name}(2)", image).image.mean() == pytest.approx(image.mean(), rel=0.06)


@pytest.mark.parametrize("name", ["blur", "jpeg", "gamma", "motion", "speckle", "low_dose", "window"])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_do_not_wrap_round(name, level):
    done = corrupted(f"{name}(3)", flat(level, level, level, 56, 56)).image
    assert abs(done.mean() - level) < 60  # a wrap-round takes half of the values 255 away


@pytest.mark.parametrize("name", NAMES)
def test_an_item_is_corrupted_alike_alone_or_in_a_batch(name):
    modality = MODALITY.get(name, "CT")
    items = [make_item(f"i{n}", modality=modality) for n in range(3)]
    images = {item.image: phantom() for item in items}
    views = prepare(resolve(f"{name}(3)"), items, make_context(items, images))
    alone = prepare(resolve(f"{name}(3)"), items[2:], make_context(items, images))
    assert views[2].pixels_sha256 == alone[0].pixels_sha256


@pytest.mark.parametrize("name", [kind.name for kind in KINDS if kind.name not in ("blur", "jpeg", "gamma", *MONAI)])
def test_other_modalities_are_skipped(name):
    assert corrupted(f"{name}(3)", phantom(), modality="Dermoscopy") is None


def test_gamma_goes_both_ways_and_window_moves_the_level():
    image = flat(128, 128, 128)
    levels = {int(gamma(image, 3, np.random.default_rng(seed)).mean()) for seed in range(20)}
    assert levels == {round(255 * (128 / 255) ** 1.7), round(255 * (128 / 255) ** (1 / 1.7))}
    means = [int(window(image, 3, np.random.default_rng(seed)).mean()) for seed in range(20)]
    assert min(means) < 128 - 30 < 128 + 30 < max(means)


def test_colour_keeps_its_hue_under_multiplicative_noise():
    colour = flat(200, 100, 50, 40, 40)
    done = on_grey(lambda grey, *_: grey * 0.5, colour, 3, np.random.default_rng(0))
    assert np.array_equal(done, flat(100, 50, 25, 40, 40))


def test_without_monai_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in MONAI:
        with pytest.raises(UserError, match=r"needs MONAI.*pip install 'medproof\[corruptions\]'"):
            resolve(f"{name}(3)")


def test_severity_is_one_to_five_and_three_where_not_said():
    assert resolve("blur").key == "blur(3)"
    for text in ("blur(0)", "blur(6)", "jpeg(1.5)"):
        with pytest.raises(UserError, match="no whole number from 1 to 5"):
            resolve(text)
