"""What every fixed-eps attack promises: the ball, the box, the mask, the batch, the counts, the best iterate."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_scores import any_image

from medproof.attacks.fgsm import fgsm
from medproof.attacks.pgd import apgd, pgd
from medproof.attacks.random_noise import random_noise
from medproof.attacks.square import square
from medproof.attacks.targeted import targeted
from medproof.attacks.threat import ThreatModel, levels


def single_step(score, images, threat, *, seeds, allowed=None):
    return fgsm(score, images, threat, allowed=allowed)


def sweep(score, images, threat, *, seeds, allowed=None):
    """Two ranks of which the second is steered by half the loss."""

    def score_for(rank):
        def steered(pixels, indices):
            loss, adversarial = score(pixels, indices)
            return loss / (1 + rank), adversarial

        return steered

    return targeted(score_for, [2] * len(images), partial(apgd, steps=5), images, threat, seeds=seeds, allowed=allowed)


ATTACKS = {
    "fgsm": single_step,
    "pgd-cosine": partial(pgd, steps=6, restarts=2),
    "pgd-constant": partial(pgd, steps=6, restarts=2, rule="constant"),
    "pgd-momentum": partial(pgd, steps=6, restarts=2, rule="momentum"),
    "apgd": partial(apgd, steps=14, restarts=2),
    "apgd-enough": partial(apgd, steps=14, restarts=2, enough=0.05),
    "targeted": sweep,
    "square": partial(square, queries=25),
    "square-enough": partial(square, queries=25, enough=0.05),
    "random_noise": partial(random_noise, draws=4),
}
NORMS = {"linf": Fraction(9, 255), "l2": Fraction(1)}
EXAMPLES = [((3, 28, 28), 0), ((3, 5, 9), 1), ((3, 28, 28), 2), ((3, 1, 1), 3), ((3, 5, 9), 4), ((3, 2, 2), 5)]
"""Shape and seed of each."""
COLUMNS = ("loss", "success", "forwards", "backwards", "restarts_used", "zero_gradients", "broken")

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
both_norms = pytest.mark.parametrize("threat", [ThreatModel(n, e) for n, e in NORMS.items()], ids=NORMS)


def mask(shape, seed):
    return torch.rand(shape[1:], generator=torch.Generator().manual_seed(100 + seed)) < 0.4


def wave(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(50 + seed))


def wavy(examples, gap=0.02):
    """A loss with many hills, of each image by itself; -gap for the clean ones. examples: (shape, seed) of each.

    Raises unless it is shown 8-bit images.
    """
    waves = [wave(shape, seed) for shape, seed in examples]
    offsets = [torch.sin(9 * w * any_image(shape, seed)).mean() + gap for w, (shape, seed) in zip(waves, examples)]

    def score(pixels, indices):
        for x in pixels:
            levels(x)
        loss = torch.stack([torch.sin(9 * waves[i] * x).mean() - offsets[i] for i, x in zip(indices, pixels)])
        return loss, loss.detach() > 0

    return score


class Counting:
    """Counts the images of each example it is shown, with and without gradient."""

    def __init__(self, score, count):
        self.score, self.forwards, self.gradients = score, [0] * count, [0] * count

    def __call__(self, pixels, indices):
        for x, i in zip(pixels, indices):
            self.forwards[i] += 1
            self.gradients[i] += int(x.requires_grad)
        return self.score(pixels, indices)


@every_attack
@both_norms
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_alone_or_in_a_mixed_batch_is_the_same_bit_for_bit(attack, threat, masked):
    images = [any_image(*example) for example in EXAMPLES]
    masks = [mask(*example) for example in EXAMPLES] if masked else None
    everyone = list(range(len(EXAMPLES)))
    together = attack(wavy(EXAMPLES), images, threat, seeds=everyone, allowed=masks)
    for i in everyone:
        own = None if masks is None else [masks[i]]
        alone = attack(wavy([EXAMPLES[i]]), [images[i]], threat, seeds=[i], allowed=own)
        assert torch.equal(alone.images[0], together.images[i])
        for name in COLUMNS:
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[i]), name
    turned = everyone[::-1]
    own = None if masks is None else masks[::-1]
    reordered = attack(wavy(EXAMPLES[::-1]), images[::-1], threat, seeds=turned, allowed=own)
    assert all(torch.equal(a, b) for a, b in zip(reordered.images[::-1], together.images))
    assert together.success.any()  # survivors and others are told apart


@every_attack
@given(
    norm=st.sampled_from(["linf", "l2"]),
    k=st.integers(1, 255),
    shape=st.sampled_from([(3, 1, 1), (3, 28, 28), (3, 5, 9), (3, 7, 2)]),
    seed=st.integers(0, 2**31),
    black_and_white=st.booleans(),
    masked=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_the_ball_the_box_and_the_mask_hold_in_integers(attack, norm, k, shape, seed, black_and_white, masked):
    threat = ThreatModel(norm, Fraction(k, 255) if norm == "linf" else Fraction(k, 30))
    clean, allowed = any_image(shape, seed, black_and_white), mask(shape, seed)
    result = attack(wavy([(shape, seed)]), [clean], threat, seeds=[seed], allowed=[allowed] if masked else None)
    png = np.asarray((result.images[0] * 255).round()).astype(int)  # what a PNG holds
    assert png.min() >= 0
    assert png.max() <= 255
    moved = png - np.asarray((clean * 255).round()).astype(int)
    assert (abs(moved).max() <= k) if norm == "linf" else ((moved**2).sum() <= (threat.eps * 255) ** 2)
    if masked:
        assert not moved[:, ~allowed.numpy()].any()


@every_attack
@both_norms
def test_background_only_and_evidence_only_move_what_they_may(attack, threat):
    clean = any_image((3, 28, 28), 0)
    evidence = torch.zeros(28, 28, dtype=torch.bool)
    evidence[4:12, 10:20] = True

    def score(pixels, indices):
        """The farther the better, with a slope at the clean image too."""
        loss = torch.stack([(x - clean + 1e-3 * wave(x.shape, 0)).square().sum() for x in pixels])
        return loss, torch.zeros(len(loss), dtype=torch.bool)

    for allowed in (evidence, ~evidence):
        result = attack(score, [clean], threat, seeds=[0], allowed=[allowed])
        moved = (levels(result.images[0]) != levels(clean)).any(0)
        assert not moved[~allowed].any()
        assert moved[allowed].float().mean() > 0.05
        assert threat.contains(result.images[0], clean)
    nowhere = attack(score, [clean], threat, seeds=[0], allowed=[evidence & ~evidence])
    assert torch.equal(nowhere.images[0], clean)
    assert nowhere.backwards.tolist() == [0]


@every_attack
@both_norms
def test_counts_are_those_of_a_score_that_counts(attack, threat):
    images = [any_image(*example) for example in EXAMPLES]
    score = Counting(wavy(EXAMPLES), len(images))
    result = attack(score, images, threat, seeds=range(len(images)))
    assert result.forwards.tolist() == score.forwards
    assert result.backwards.tolist() == score.gradients


@every_attack
@pytest.mark.parametrize("norm", NORMS)
def test_eps_zero_returns_the_clean_image_and_judges_it(attack, norm):
    clean = [any_image((3, 28, 28), 0), any_image((3, 5, 9), 1)]

    def score(pixels, indices):
        loss = torch.stack([x.sum() * 0 + (1.0 if i else -1.0) for x, i in zip(pixels, indices)])
        return loss, loss.detach() > 0

    result = attack(score, clean, ThreatModel(norm, Fraction(0)), seeds=[0, 1])
    assert all(torch.equal(a, b) for a, b in zip(result.images, clean))
    assert result.success.tolist() == [False, True]
    assert result.backwards.tolist() == [0, 0]
    assert result.forwards[1] == 1


@every_attack
@both_norms
def test_the_best_image_ever_shown_is_returned(attack, threat):
    clean, shown = any_image((3, 5, 9), 3), []
    own = wavy([((3, 5, 9), 3)], 5.0)

    def score(pixels, indices):
        loss, adversarial = own(pixels, indices)
        shown.append((loss[0].item(), pixels[0].detach().clone()))
        return loss, adversarial

    result = attack(score, [clean], threat, seeds=[0])
    losses = [loss for loss, _ in shown]
    if attack is not sweep:  # which also shows halves of the loss
        assert float(result.loss[0]) == max(losses)
    assert any(torch.equal(result.images[0], pixels) for loss, pixels in shown if loss == max(losses))


@every_attack
@both_norms
def test_log_probabilities_of_two_options(attack, threat):
    """A linear model: attacks with a gradient find the images that are wrong, those without come closer."""
    w, clean = wave((3, 28, 28), 1), any_image((3, 28, 28), 1)

    def score(pixels, indices):
        logits = torch.stack([torch.stack([torch.tensor(9.0), (w * (x - clean)).sum()]) for x in pixels])
        logprobs = logits.log_softmax(1)
        loss = logprobs[:, 1] - logprobs[:, 0]
        return loss, loss.detach() > 0

    result = attack(score, [clean], threat, seeds=[0])
    assert float(result.loss[0]) > -9
    assert bool(result.success[0]) or result.backwards[0] == 0


@every_attack
def test_nan_stops_the_search_of_one_and_spares_the_neighbours(attack):
    clean, calls = [any_image((3, 5, 9), seed) for seed in range(2)], [0, 0]

    def score(pixels, indices):
        loss = []
        for x, i in zip(pixels, indices):
            calls[i] += 1
            loss.append(x.mean() - 9 + (float("nan") if i == 0 and calls[0] >= 2 else 0.0))
        return torch.stack(loss), torch.zeros(len(loss), dtype=torch.bool)

    result = attack(score, clean, ThreatModel("linf", Fraction(8, 255)), seeds=[0, 1])
    assert result.broken.tolist() == [True, False]
    assert result.forwards[0] == 2
    assert result.forwards[1] >= 2
    assert result.images[0].isfinite().all()


@every_attack
def test_inputs_and_weights_are_left_alone(attack):
    clean = any_image((3, 5, 9), 0)
    before, layer = clean.clone(), torch.nn.Linear(3 * 5 * 9, 1)

    def score(pixels, indices):
        loss = layer(torch.stack(list(pixels)).flatten(1))[:, 0]
        return loss, loss.detach() > 0

    result = attack(score, [clean], ThreatModel("linf", Fraction(8, 255)), seeds=[0])
    assert torch.equal(clean, before)
    assert layer.weight.grad is None
    assert not result.images[0].requires_grad


@every_attack
def test_bad_calls_are_refused_and_an_empty_batch_is_an_empty_result(attack):
    threat, score = ThreatModel("linf", Fraction(1, 255)), wavy([((3, 2, 2), 0)])
    with pytest.raises(ValueError, match="8-bit"):
        attack(score, [torch.full((3, 2, 2), 0.5)], threat, seeds=[0])
    with pytest.raises(ValueError, match="mask"):
        attack(score, [any_image((3, 2, 2), 0)], threat, seeds=[0], allowed=[torch.ones(3, 2, dtype=torch.bool)])
    with pytest.raises(ValueError, match="mask"):
        attack(score, [any_image((3, 2, 2), 0)], threat, seeds=[0], allowed=[torch.ones(2, 2)])
    assert attack(score, [], threat, seeds=[]).images == []
