"""PGD against models whose optimum is known, and its bookkeeping."""

from fractions import Fraction

import pytest
import torch
from toy_scores import image, linear, weights_of

from medproof.attacks import ThreatModel, levels, pgd, to_images

LINF = ThreatModel("linf", Fraction(8, 255))


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 28, 28)])
@pytest.mark.parametrize("k", [1, 8])
def test_linear_model_linf_reaches_the_analytic_optimum(shape, k):
    clean, w = image(shape), weights_of(shape)
    result = pgd(linear(w), [clean], ThreatModel("linf", Fraction(k, 255)), steps=20, seeds=[0])
    gain = float(result.loss[0] - (w * clean).sum())
    best = k / 255 * float(w.abs().sum())
    assert gain == pytest.approx(best, rel=0.01)


@pytest.mark.parametrize("eps", [Fraction(1, 2), Fraction(2), Fraction(8)])
def test_linear_model_l2_reaches_the_analytic_optimum(eps):
    clean, w = image(low=120, high=130), weights_of((3, 28, 28))
    result = pgd(linear(w), [clean], ThreatModel("l2", eps), steps=20, seeds=[0])
    gain = float((w.double() * (result.images[0] - clean).double()).sum())
    # Below half a grey level a pixel no 8-bit image follows the gradient exactly: 0.5 is 0.05 levels a pixel.
    assert gain <= float(eps) * float(w.norm()) * 1.0001
    assert gain >= float(eps) * float(w.norm()) * (0.99 if eps >= 2 else 0.75)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_black_and_white_pixels_still_move(norm):
    clean = to_images((torch.arange(3 * 28 * 28).reshape(3, 28, 28) % 2) * 255)
    w = weights_of(clean.shape)
    free = torch.where(clean == 0, w > 0, w < 0)
    threat = ThreatModel(norm, Fraction(8, 255) if norm == "linf" else Fraction(2))
    result = pgd(linear(w), [clean], threat, steps=20, seeds=[0])
    gain = float((w * (result.images[0] - clean)).sum())
    dual = float(w[free].abs().sum()) if norm == "linf" else float(w[free].norm())
    assert gain == pytest.approx(float(threat.eps) * dual, rel=0.01)
    assert threat.contains(result.images[0], clean)


def test_mean_over_pixels():
    clean = image()
    result = pgd(linear(torch.full(clean.shape, 1 / clean.numel()), -0.5), [clean], LINF, steps=5, seeds=[0])
    assert torch.equal(levels(result.images[0]), levels(clean) + 8)


def test_two_options():
    w = weights_of((3, 28, 28))
    clean = image()
    offset = (w * clean).sum()

    def score(pixels, indices):
        logits = torch.stack([torch.stack([torch.tensor(1.0), (w * x).sum() - offset]) for x in pixels])
        logprobs = logits.log_softmax(1)
        loss = logprobs[:, 1] - logprobs[:, 0]
        return loss, loss.detach() > 0

    result = pgd(score, [clean], LINF, steps=10, seeds=[0])
    assert result.success.tolist() == [True]


def test_eps_zero_returns_the_clean_image_and_judges_it():
    clean = [image(seed=1), image((3, 5, 9), seed=2)]
    nothing = ThreatModel("linf", Fraction(0))

    def score(pixels, indices):
        loss = torch.stack([x.sum() * 0 + (1.0 if i else -1.0) for x, i in zip(pixels, indices)])
        return loss, loss.detach() > 0

    result = pgd(score, clean, nothing, steps=5, seeds=[0, 1], restarts=3)
    assert all(torch.equal(a, b) for a, b in zip(result.images, clean))
    assert result.success.tolist() == [False, True]
    assert result.forwards.tolist() == [1, 1]
    assert result.backwards.tolist() == [0, 0]


def test_zero_gradient_plateau_ends_on_the_clean_image_and_is_counted():
    clean = image()

    def score(pixels, indices):
        loss = torch.stack([(x * 0).sum() - 1 for x in pixels])
        return loss, loss.detach() > 0

    result = pgd(score, [clean], LINF, steps=6, seeds=[0], restarts=2)
    assert torch.equal(result.images[0], clean)
    assert result.success.tolist() == [False]
    assert result.zero_gradients.tolist() == [12]


def test_a_score_cut_off_from_its_pixels_counts_as_masked_gradient():
    result = pgd(
        lambda pixels, indices: (torch.full((len(pixels),), -1.0), torch.zeros(len(pixels), dtype=torch.bool)),
        [image()],
        LINF,
        steps=4,
        seeds=[0],
    )
    assert result.zero_gradients.tolist() == result.backwards.tolist() == [4]


def test_a_success_on_the_way_is_kept_although_the_loss_goes_on_rising():
    clean = image()
    shown, losses = [], []

    def score(pixels, indices):
        shown.append(pixels[0].detach().clone())
        loss = torch.sin(40 * pixels[0]).mean()[None]
        losses.append(loss.item())
        return loss, torch.tensor([len(shown) == 3])  # wrong on one image in the middle alone

    result = pgd(score, [clean], LINF, steps=10, seeds=[0])
    assert max(losses) > losses[2]
    assert result.success.tolist() == [True]
    assert torch.equal(result.images[0], shown[2])
    assert float(result.loss[0]) == pytest.approx(losses[2])


def test_without_success_the_highest_loss_is_kept_not_the_last():
    shown, losses = [], []

    def score(pixels, indices):
        shown.append(pixels[0].detach().clone())
        loss = pixels[0].mean()[None] - (1.0 if len(shown) > 5 else 0.0)  # collapses on the way
        losses.append(loss.item())
        return loss, torch.tensor([False])

    result = pgd(score, [image()], LINF, steps=10, seeds=[0])
    best = max(range(len(losses)), key=losses.__getitem__)
    assert best < 5
    assert torch.equal(result.images[0], shown[best])


def test_success_is_judged_on_8_bit_images_only():
    def score(pixels, indices):
        for x in pixels:
            levels(x)  # raises unless 8-bit
        loss = torch.stack([x.sum() for x in pixels])
        return loss, torch.zeros(len(pixels), dtype=torch.bool)

    for threat in (LINF, ThreatModel("l2", Fraction(1, 2))):
        pgd(score, [image(), image((3, 5, 9))], threat, steps=4, seeds=[0, 1], restarts=2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_alone_or_in_a_mixed_batch_is_the_same_bit_for_bit(norm):
    threat = ThreatModel(norm, Fraction(8, 255) if norm == "linf" else Fraction(1))
    shapes = [(3, 28, 28), (3, 5, 9), (3, 28, 28), (3, 1, 1), (3, 5, 9)]
    images = [image(shape, seed) for seed, shape in enumerate(shapes)]
    waves = [weights_of(shape, 50 + i) for i, shape in enumerate(shapes)]

    def score_of(which):
        def score(pixels, indices):
            loss = [torch.sin(9 * (waves[which[i]] * x)).mean() - 0.3 for i, x in zip(indices, pixels)]
            return torch.stack(loss), torch.stack(loss).detach() > 0

        return score

    together = pgd(score_of(range(5)), images, threat, steps=7, seeds=list(range(5)), restarts=3, enough=0.1)
    for i in range(5):
        alone = pgd(score_of([i]), [images[i]], threat, steps=7, seeds=[i], restarts=3, enough=0.1)
        assert torch.equal(alone.images[0], together.images[i])
        for name in ("loss", "success", "forwards", "backwards", "restarts_used"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[i]), name
    turned = list(range(5))[::-1]
    reordered = pgd(score_of(turned), images[::-1], threat, steps=7, seeds=turned, restarts=3, enough=0.1)
    assert all(torch.equal(a, b) for a, b in zip(reordered.images[::-1], together.images))


def test_restarts_run_on_survivors_alone_and_are_counted():
    calls = []

    def score(pixels, indices):
        calls.append(list(indices))
        loss = torch.stack([x.mean() - (0.0 if i == 1 else 9.0) for x, i in zip(pixels, indices)])
        return loss, loss.detach() > 0

    result = pgd(score, [image(seed=s) for s in range(3)], LINF, steps=4, seeds=[0, 1, 2], restarts=3)
    assert result.success.tolist() == [False, True, False]
    assert calls[0] == [0, 1, 2]
    assert all(call == [0, 2] for call in calls[6:])
    assert result.restarts_used.tolist() == [3, 1, 3]
    assert result.backwards.tolist() == [12, 4, 12]
    assert result.forwards.tolist() == [16, 6, 16]


def test_restarts_begin_elsewhere_and_can_find_what_the_first_missed():
    clean = to_images(torch.full((3, 1, 1), 128))
    starts = []

    def score(pixels, indices):
        starts.append(pixels[0].detach().clone())
        return (pixels[0] * 0).sum()[None], torch.tensor([False])

    pgd(score, [clean], LINF, steps=1, seeds=[3], restarts=8)
    assert len({tuple(levels(x).flatten().tolist()) for x in starts}) > 4


def test_enough_saves_passes_and_never_costs_a_success():
    w = weights_of((3, 28, 28))
    clean = [image(seed=s) for s in range(6)]

    def score(pixels, indices):
        loss = torch.stack([(w * (x - clean[i])).sum() - 10.0 * i for x, i in zip(pixels, indices)])
        return loss, loss.detach() > 0

    whole = pgd(score, clean, LINF, steps=20, seeds=range(6))
    short = pgd(score, clean, LINF, steps=20, seeds=range(6), enough=5.0)
    assert torch.equal(whole.success, short.success)
    assert int(short.backwards.sum()) < int(whole.backwards.sum())
    assert all(loss >= 5 for loss in short.loss[short.backwards < 20])
    assert (short.loss <= whole.loss).all()


def test_given_starts_replace_the_first_random_one():
    clean = to_images(torch.full((3, 2, 2), 128))
    start = to_images(torch.full((3, 2, 2), 131))
    seen = []

    def score(pixels, indices):
        seen.append(levels(pixels[0]))
        return (pixels[0] * 0).sum()[None], torch.tensor([False])

    pgd(score, [clean], LINF, steps=1, seeds=[0], starts=[start])
    assert torch.equal(seen[1], levels(start))


@pytest.mark.parametrize("poison", ["gradient", "loss"])
def test_nan_keeps_the_best_iterate_counts_and_spares_the_neighbours(poison):
    clean = [image(seed=s) for s in range(2)]
    calls = []

    def score(pixels, indices):
        calls.append(list(indices))
        loss = []
        for x, i in zip(pixels, indices):
            value = x.mean()
            if i == 0 and len(calls) >= 4:
                value = value + ((x.sum() * 0).sqrt() if poison == "gradient" else x.sum() * float("nan"))
            loss.append(value)
        return torch.stack(loss), torch.zeros(len(loss), dtype=torch.bool)

    result = pgd(score, clean, LINF, steps=10, seeds=[0, 1], restarts=2)
    assert result.broken.tolist() == [True, False]
    assert LINF.contains(result.images[0], clean[0])
    assert float(result.loss[0]) > float(clean[0].mean())
    assert result.images[0].isfinite().all()
    assert result.backwards.tolist() == [3, 20]
    assert torch.equal(levels(result.images[1]), levels(clean[1]) + 8)


def test_inputs_and_weights_are_left_alone():
    clean = image()
    before = clean.clone()
    layer = torch.nn.Linear(3 * 28 * 28, 1)

    def score(pixels, indices):
        loss = layer(torch.stack(list(pixels)).flatten(1))[:, 0]
        return loss, loss.detach() > 0

    result = pgd(score, [clean], LINF, steps=3, seeds=[0])
    assert torch.equal(clean, before)
    assert not clean.requires_grad
    assert layer.weight.grad is None
    assert not result.images[0].requires_grad


def test_errors_of_the_model_pass_through():
    def score(pixels, indices):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        pgd(score, [image()], LINF, steps=1, seeds=[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"steps": 0}, "at least 1"), ({"restarts": 0}, "at least 1"), ({"seeds": [0, 1]}, "as many seeds")],
)
def test_impossible_calls_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pgd(linear(weights_of((3, 28, 28))), [image()], LINF, **{"steps": 1, "seeds": [0], **change})


def test_an_empty_batch_is_an_empty_result():
    result = pgd(linear(weights_of((3, 1, 1))), [], LINF, steps=3, seeds=[])
    assert result.images == []
    assert result.success.shape == (0,)
