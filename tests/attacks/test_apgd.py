"""APGD: its checkpoints, its conditions, and that it is at least as strong as PGD on models with a known optimum."""

from fractions import Fraction

import pytest
import torch
from toy_scores import image, linear, weights_of

from medproof.attacks.ascent import Bucket
from medproof.attacks.auto_step import AutoStep, checkpoints
from medproof.attacks.pgd import apgd
from medproof.attacks.threat import ThreatModel

LINF = ThreatModel("linf", Fraction(8, 255))


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [0, 1]
    for steps in range(1, 60):
        marks = checkpoints(steps)
        assert marks == sorted(set(marks))
        assert marks[-1] <= steps


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 28, 28)])
@pytest.mark.parametrize("black_and_white", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_model_reaches_the_analytic_optimum(shape, black_and_white, norm):
    clean, w = image(shape), weights_of(shape)
    if black_and_white:
        clean = (clean > 0.5).float()
    free = torch.where(clean == 0, w > 0, torch.where(clean == 1, w < 0, True))
    threat = LINF if norm == "linf" else ThreatModel("l2", Fraction(2) if shape[1] > 1 else Fraction(1, 5))
    result = apgd(linear(w), [clean], threat, steps=30, seeds=[0])
    gain = float((w.double() * (result.images[0] - clean).double()).sum())
    dual = float(w[free].abs().sum()) if norm == "linf" else float(w[free].norm())
    assert gain == pytest.approx(float(threat.eps) * dual, rel=0.02)


def bucket_of(count):
    clean = torch.full((count, 3, 2, 2), 128 / 255)
    return Bucket(list(range(count)), clean, clean, clean, None)


def drive(losses):
    """Step sizes in units of eps while the losses [T, B] are reported, and the iterates."""
    bucket, rule, sizes, places = bucket_of(losses.shape[1]), AutoStep(LINF, len(losses)), [], []
    for step, loss in enumerate(losses):
        places.append(bucket.iterate)
        gradient = torch.randn(bucket.clean.shape, generator=torch.Generator().manual_seed(step))
        bucket.iterate = rule.move(bucket, gradient, loss, step)
        sizes.append((rule.state["size"].flatten() / float(LINF.eps)).tolist())
    return torch.tensor(sizes), torch.stack(places), rule


def test_steps_are_halved_for_each_example_by_itself_when_its_loss_stalls():
    steps = 100
    rising = torch.arange(steps).float()
    flat = torch.zeros(steps)
    zigzag = torch.arange(steps) % 2 * 1.0
    rises_then_flat = torch.minimum(rising, torch.tensor(30.0))
    sizes, _, _ = drive(torch.stack([rising, flat, zigzag, rises_then_flat], dim=1))
    assert (sizes[:, 0] == 2).all()
    for column in (1, 2):  # rose in fewer than three quarters of the steps at every checkpoint
        assert sizes[21, column] == 2
        assert sizes[22, column] == 1
        assert sizes[41, column] == 0.5
        assert sizes[99, column] == 2 / 2**8
    assert sizes[40, 3] == 2
    assert sizes[41, 3] == 1  # 9 rises in 19 steps


def test_a_halving_returns_to_the_best_point():
    losses = torch.zeros(40, 1)
    losses[3] = 5.0
    _, places, rule = drive(losses)
    assert torch.equal(rule.state["best"], places[3])
    assert float(rule.state["best_loss"]) == 5
    mark = checkpoints(40)[1]
    # From there one step without momentum, along the gradient found there.
    uphill = torch.randn(places[3].shape, generator=torch.Generator().manual_seed(3)).sign()
    ahead = LINF.project(places[3] + float(LINF.eps) * uphill, bucket_of(1).clean)
    expected = LINF.project(places[3] + 0.75 * (ahead - places[3]), bucket_of(1).clean)
    assert torch.allclose(places[mark + 1], expected, atol=1e-6)


def test_zero_gradient_plateau_ends_on_the_clean_image_and_is_counted():
    def score(pixels, indices):
        loss = torch.stack([(x * 0).sum() - 1 for x in pixels])
        return loss, loss.detach() > 0

    result = apgd(score, [image()], LINF, steps=6, seeds=[0], restarts=2)
    assert torch.equal(result.images[0], image())
    assert result.zero_gradients.tolist() == [12]


def test_impossible_calls_are_refused():
    for change in ({"steps": 0}, {"restarts": 0}, {"seeds": [0, 1]}):
        with pytest.raises(ValueError, match=r"at least 1|as many seeds"):
            apgd(linear(weights_of((3, 28, 28))), [image()], LINF, **{"steps": 1, "seeds": [0], **change})
