"""Losses of class scores against their formulas, and the score of a plain classifier."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medproof.attacks.classifier import ClassifierScore
from medproof.attacks.losses import LOSSES, cross_entropy, dlr, margin
from medproof.attacks.targeted import closest_first
from medproof.attacks.threat import to_images

LOGITS = torch.tensor([[2.0, 5.0, 1.0, 4.0], [0.0, -1.0, 3.0, 2.5]])
LABELS = torch.tensor([1, 0])
TARGETS = torch.tensor([3, 1])


def test_formulas():
    assert margin(LOGITS, LABELS).tolist() == [-1.0, 3.0]
    assert margin(LOGITS, LABELS, TARGETS).tolist() == [-1.0, -1.0]
    logp = LOGITS.log_softmax(1)
    assert cross_entropy(LOGITS, LABELS).tolist() == pytest.approx([-float(logp[0, 1]), -float(logp[1, 0])])
    assert cross_entropy(LOGITS, LABELS, TARGETS).tolist() == pytest.approx([float(logp[0, 3]), float(logp[1, 1])])
    # -(z_y - max wrong) / (z_1st - z_3rd), and -(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2)
    assert dlr(LOGITS, LABELS).tolist() == pytest.approx([-(5 - 4) / (5 - 2), -(0 - 3) / (3 - 0)])
    assert dlr(LOGITS, LABELS, TARGETS).tolist() == pytest.approx([-1 / (5 - 1.5), -1 / (3 + 0.5)])


@given(
    seed=st.integers(0, 2**31),
    classes=st.integers(2, 6),
    shift=st.floats(-20, 20),
    scale=st.floats(0.1, 30),
    targeted=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_shifts_change_nothing_and_dlr_ignores_the_scale(seed, classes, shift, scale, targeted):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (5,), generator=generator)
    targets = (labels + 1) % classes if targeted else None
    for loss in LOSSES.values():
        as_logprobs = loss((logits + shift).log_softmax(1), labels, targets)
        assert torch.allclose(as_logprobs, loss(logits, labels, targets), atol=1e-9)
    if classes > 3:
        assert torch.allclose(dlr(logits * scale, labels, targets), dlr(logits, labels, targets), rtol=1e-9)
    assert torch.equal(margin(logits, labels) > 0, logits.argmax(1) != labels)


@pytest.mark.parametrize(("classes", "targeted"), [(2, False), (2, True), (3, True)])
def test_dlr_of_too_few_classes_is_the_margin_and_not_constant(classes, targeted):
    logits = torch.randn(6, classes, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(6) % classes
    targets = (labels + 1) % classes if targeted else None
    loss = dlr(logits, labels, targets)
    assert torch.equal(loss, margin(logits, labels, targets))
    assert (torch.autograd.grad(loss.sum(), logits)[0] != 0).any(1).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_equal_logits_have_finite_losses_and_gradients(loss):
    logits = torch.zeros(1, 4, requires_grad=True)
    for targets in (None, torch.tensor([2])):
        value = loss(logits, torch.tensor([0]), targets)
        assert value.isfinite().all()
        assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()


def test_score_of_a_classifier_follows_its_indices_and_judges_any_wrong_class():
    images = [to_images(torch.full((3, 2, 2), grey)) for grey in (0, 128, 255)]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    labels, targets = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    logits = net(torch.stack(images))
    for name, function in LOSSES.items():
        for steer in (None, targets):
            loss, adversarial = ClassifierScore(net, labels, name, steer)([images[2], images[0]], [2, 0])
            order = torch.tensor([2, 0])
            expected = function(logits[order], labels[order], None if steer is None else steer[order])
            assert torch.allclose(loss, expected)
            assert torch.equal(adversarial, logits[order].argmax(1) != labels[order])
            assert loss.requires_grad
            assert not adversarial.requires_grad


def test_closest_first_orders_the_wrong_classes():
    assert closest_first(LOGITS, LABELS).tolist() == [[3, 0, 2], [2, 3, 1]]
