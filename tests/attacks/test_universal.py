"""One perturbation for a set: it finds the direction that was planted, for any shapes, and keeps to every ball."""

from fractions import Fraction

import pytest
import torch
from torch.nn import functional

from medproof.attacks.random_noise import random_noise
from medproof.attacks.threat import ThreatModel, levels, to_images
from medproof.attacks.universal import apply_universal, universal

LINF, L2 = ThreatModel("linf", Fraction(6, 255)), ThreatModel("l2", Fraction(1))
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])


def images_of(count, seed, shapes=((3, 12, 12),)):
    generator = torch.Generator().manual_seed(seed)
    return [to_images(torch.randint(40, 216, shapes[i % len(shapes)], generator=generator)) for i in range(count)]


def planted(clean, lead):
    """One direction, the same at any size, decides; each example starts `lead` times its own way behind."""
    ramp = torch.linspace(0, 3, 12)
    pattern = torch.stack([torch.sin(ramp)[:, None] * torch.cos((1 + c) * ramp)[None] for c in range(3)])

    def score(pixels, indices):
        loss = []
        for x, i in zip(pixels, indices):
            own = functional.interpolate(pattern[None], size=x.shape[1:], mode="bilinear")[0]
            loss.append((own * (x - clean[i])).mean() / own.abs().mean() * 255 - lead * (1 + i % 5))
        return torch.stack(loss), torch.stack(loss).detach() > 0

    return score


@both_norms
def test_it_fools_far_more_than_noise_of_its_size_also_on_images_it_was_not_fitted_on(threat):
    lead = 0.8 if threat.norm == "linf" else 1.5
    seen, unseen = images_of(20, 0), images_of(20, 1)
    grey, fitted = universal(planted(seen, lead), seen, threat, steps=15, seed=0, batch=8)
    assert grey.dtype == torch.int32
    assert fitted.success.float().mean() >= 0.6
    moved = apply_universal(planted(unseen, lead), unseen, threat, grey)
    noise = random_noise(planted(unseen, lead), unseen, threat, draws=5, seeds=range(20))
    assert moved.success.float().mean() >= 0.6
    assert noise.success.float().mean() <= 0.1
    for before, after in zip(unseen, moved.images):
        assert torch.equal(levels(after), (levels(before) + grey).clamp(0, 255))
        assert threat.contains(after, before)


@both_norms
def test_images_of_other_shapes_get_it_resized_and_pull_on_it(threat):
    shapes = ((3, 12, 12), (3, 24, 18), (3, 1, 1), (3, 7, 20))
    clean = images_of(12, 2, shapes)  # the first of each shape at 0, 1, 2, 3
    grey, result = universal(planted(clean, 0.2), clean, threat, steps=10, seed=0, batch=6)
    assert grey.shape == (3, 12, 12)
    assert all(threat.contains(after, before) for before, after in zip(clean, result.images))
    large = [i for i, image in enumerate(clean) if image.shape == (3, 24, 18)]
    gain = planted(clean, 0.0)([result.images[i] for i in large], large)[0]
    assert (gain > 0.5 * (6 if threat.norm == "linf" else 255 / (3 * 24 * 18) ** 0.5)).all()


def test_the_gradient_of_a_resized_perturbation_is_pulled_back_to_its_own_shape():
    """Fitted on images of another shape alone, but for a first one that has no say."""
    first, clean = images_of(1, 0)[0], images_of(6, 1, ((3, 24, 18),))
    inner = planted([first, *clean], 0.2)

    def score(pixels, indices):
        loss, adversarial = inner(pixels, indices)
        return loss * torch.tensor([float(i > 0) for i in indices]), adversarial

    grey, result = universal(score, [first, *clean], LINF, steps=8, seed=0)
    assert grey.shape == (3, 12, 12)
    assert result.success[1:5].all()


@both_norms
def test_same_seed_same_perturbation_and_one_image_alone_or_among_others(threat):
    clean = images_of(9, 3, ((3, 12, 12), (3, 6, 9)))
    grey, result = universal(planted(clean, 0.5), clean, threat, steps=5, seed=4, batch=4)
    again, _ = universal(planted(clean, 0.5), clean, threat, steps=5, seed=4, batch=4)
    other, _ = universal(planted(clean, 0.5), clean, threat, steps=5, seed=5, batch=4)
    assert torch.equal(grey, again)
    assert not torch.equal(grey, other)
    for i, image in enumerate(clean):
        alone = apply_universal(planted([image], 0.5), [image], threat, grey)
        assert torch.equal(alone.images[0], result.images[i])


def test_costs_count_the_fit_and_the_verdict():
    clean, calls = images_of(5, 0), [0] * 5
    inner = planted(clean, 0.5)

    def score(pixels, indices):
        for i in indices:
            calls[i] += 1
        return inner(pixels, indices)

    _, result = universal(score, clean, LINF, steps=7, seed=0, batch=3)
    assert result.forwards.tolist() == calls
    assert (result.backwards == result.forwards - 1).all()
    assert int(result.backwards.sum()) == 7 * 3
    _, nothing = universal(score, clean, ThreatModel("linf", Fraction(0)), steps=7, seed=0)
    assert nothing.forwards.tolist() == [1] * 5
    assert all(torch.equal(a, b) for a, b in zip(nothing.images, clean))


def test_enough_leaves_the_step_to_those_that_are_not_fooled():
    """Nine examples pull one way and are fooled as they are; one pulls the other way and is not."""
    clean = images_of(10, 0)

    def score(pixels, indices):
        loss = [
            (x - clean[i]).mean() * (-255 if i == 0 else 255) + (-3 if i == 0 else 50) for x, i in zip(pixels, indices)
        ]
        return torch.stack(loss), torch.stack(loss).detach() > 0

    _, crowd = universal(score, clean, LINF, steps=8, seed=0)
    _, clipped = universal(score, clean, LINF, steps=8, seed=0, enough=1.0)
    assert not crowd.success[0]
    assert clipped.success.all()


def test_nan_of_one_image_does_not_spoil_the_others():
    clean = images_of(6, 0)
    inner = planted(clean, 0.2)

    def score(pixels, indices):
        loss, adversarial = inner(pixels, indices)
        return loss * torch.tensor([float("nan") if i == 2 else 1.0 for i in indices]), adversarial

    grey, result = universal(score, clean, LINF, steps=6, seed=0)
    assert grey.abs().max() == 6
    assert result.broken.tolist() == [i == 2 for i in range(6)]
    assert result.success[[0, 1, 3]].all()
    assert torch.equal(levels(result.images[2]), (levels(clean[2]) + grey).clamp(0, 255))


def test_impossible_calls_are_refused():
    for change, message in (({"steps": 0}, "at least 1"), ({"batch": 0}, "at least 1")):
        with pytest.raises(ValueError, match=message):
            universal(planted([], 0), images_of(1, 0), LINF, **{"steps": 1, "seed": 0, **change})
    with pytest.raises(ValueError, match="needs images"):
        universal(planted([], 0), [], LINF, steps=1, seed=0)
