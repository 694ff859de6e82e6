"""PGD on a small network trained here: stronger with eps, stronger than noise, and not fooled into fooling itself."""

from fractions import Fraction
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from medproof.attacks import (
    ClassifierScore,
    SmoothedScore,
    ThreatModel,
    apgd,
    fgsm,
    pgd,
    random_noise,
    square,
    targeted,
    to_images,
)
from medproof.attacks.targeted import closest_first

CLASSES = 4
COUNT = 32


def shapes_like_digits(count, seed):
    """8 x 8 RGB strokes in noise: a bar left, right, top or bottom."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    grey = torch.randint(60, 100, (count, 3, 8, 8), generator=generator)
    for i, label in enumerate(labels.tolist()):
        where = [(slice(None), slice(0, 3)), (slice(None), slice(5, 8)), (slice(0, 3),), (slice(5, 8),)][label]
        grey[i][(slice(None), *where)] += 25
    return to_images(grey), labels


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, CLASSES))
    images, labels = shapes_like_digits(256, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.requires_grad_(False)


def margin_score(model, labels):
    def score(pixels, indices):
        logprobs = model(torch.stack(list(pixels))).log_softmax(1)
        true = functional.one_hot(labels[indices], CLASSES).bool()
        margin = logprobs.masked_fill(true, -torch.inf).amax(1) - logprobs[true]
        return margin, margin.detach() > 0

    return score


def attack(model, k, steps=20, **more):
    images, labels = shapes_like_digits(COUNT, 2)
    threat = ThreatModel("linf", Fraction(k, 255))
    result = pgd(margin_score(model, labels), list(images), threat, steps=steps, seeds=range(COUNT), **more)
    assert all(threat.contains(a, b) for a, b in zip(result.images, images))
    with torch.no_grad():
        wrong = model(torch.stack(result.images)).argmax(1) != labels
    assert torch.equal(wrong, result.success)  # judged again from the 8-bit images
    return result


def test_success_and_loss_rise_with_eps_up_to_everything(net):
    rates = [float(attack(net, k).success.float().mean()) for k in (0, 4, 8, 16, 32, 64)]
    losses = [float(attack(net, k).loss.mean()) for k in (0, 4, 8, 16)]
    assert rates == sorted(rates)
    assert rates[0] < 0.05
    assert rates[-1] == 1
    assert losses == sorted(losses)


def test_iterative_beats_single_step_and_random_noise(net):
    images, labels = shapes_like_digits(COUNT, 2)
    many, one = attack(net, 12, steps=20), attack(net, 12, steps=1)
    signs = torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noisy, _ = margin_score(net, labels)(to_images((images * 255).round().int() + 12 * signs), list(range(COUNT)))
    assert many.success.sum() >= one.success.sum()
    assert many.loss.mean() >= one.loss.mean()
    assert float(many.loss.mean()) > float(noisy.mean()) + 1


def test_doubling_the_steps_changes_little(net):
    assert abs(float(attack(net, 8, steps=20).loss.mean() - attack(net, 8, steps=40).loss.mean())) < 0.05


def test_a_gradient_masked_model_looks_robust_and_is_flagged(net):
    class Masked(nn.Module):
        def forward(self, x):
            return net((x * 15).round() / 15)  # the gradient of round is zero

    masked = attack(Masked(), 16)
    assert (masked.zero_gradients == 20).all()
    assert masked.success.sum() < attack(net, 16).success.sum()


def strengths(model, threat, count=12):
    """Successes and mean margin of each attack at the same eps."""
    images, labels = shapes_like_digits(count, 2)
    score, seeds, clean = ClassifierScore(model, labels), range(count), list(images)
    order = closest_first(model(images), labels)

    def to_rank(rank):
        return ClassifierScore(model, labels, targets=order[:, rank])

    results = {
        "noise": random_noise(score, clean, threat, draws=5, seeds=seeds),
        "square": square(score, clean, threat, queries=80, seeds=seeds, enough=float("inf")),
        "fgsm": fgsm(score, clean, threat),
        "pgd": pgd(score, clean, threat, steps=20, seeds=seeds),
        "apgd": apgd(score, clean, threat, steps=20, seeds=seeds),
        "targeted": targeted(
            to_rank, [CLASSES - 1] * count, partial(pgd, steps=20, restarts=1), clean, threat, seeds=seeds
        ),
    }
    return {name: (int(r.success.sum()), float(r.loss.mean())) for name, r in results.items()}


@pytest.mark.parametrize(("norm", "eps"), [("linf", Fraction(10, 255)), ("l2", Fraction(2, 5))])
def test_stronger_searches_find_more(net, norm, eps):
    found = strengths(net, ThreatModel(norm, eps))
    names = ("noise", "square", "fgsm", "targeted")
    assert [found[name] for name in names] == sorted(found[name] for name in names)
    assert found["noise"][1] < found["square"][1] - 0.3
    assert found["square"][1] < found["fgsm"][1] - 0.1
    assert found["noise"][0] < found["pgd"][0]
    # The net is nearly linear, where one step is almost all; from a random start PGD may follow another wrong class.
    assert found["fgsm"][1] <= found["pgd"][1] + 0.05
    assert found["pgd"][0] <= found["apgd"][0] <= found["targeted"][0]
    assert found["apgd"][1] >= found["pgd"][1] - 0.01


def test_a_smoothed_model_is_attacked_through_its_noise(net):
    """A net whose gradient is shattered and that votes under noise: through the noise it is as weak as it is."""

    def shattered(x):
        return net(x + 0.02 * torch.sin(3000 * x))

    count = 12
    images, labels = shapes_like_digits(count, 2)
    threat = ThreatModel("linf", Fraction(10, 255))
    inner = ClassifierScore(shattered, labels)
    through = pgd(
        SmoothedScore(inner, sigma=0.05, draws=8, seeds=range(count)),
        list(images),
        threat,
        steps=15,
        seeds=range(count),
    )
    past = pgd(inner, list(images), threat, steps=15, seeds=range(count))
    judge = SmoothedScore(inner, sigma=0.05, draws=100, seeds=range(100, 100 + count))
    with torch.no_grad():
        margins = [float(judge(result.images, range(count))[0].mean()) for result in (through, past)]
    assert margins[0] > margins[1]
