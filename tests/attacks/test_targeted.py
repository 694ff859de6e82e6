"""The sweep: wrong classes in their order, survivors only, and what it finds that an untargeted attack passes by."""

from fractions import Fraction
from functools import partial

import pytest
import torch

from medproof.attacks.classifier import ClassifierScore
from medproof.attacks.pgd import pgd
from medproof.attacks.targeted import closest_first, targeted
from medproof.attacks.threat import ThreatModel, to_images

LINF = ThreatModel("linf", Fraction(8, 255))
GREY = to_images(torch.full((3, 2, 2), 128))


def ranked(net, images, labels, loss="margin"):
    order = closest_first(net(torch.stack(images)), labels)
    return lambda rank: ClassifierScore(net, labels, loss, order[:, rank])


def test_each_rank_runs_on_the_survivors_of_the_last_in_order():
    calls = []

    def score_for(rank):
        def score(pixels, indices):
            calls.append((rank, tuple(indices)))
            loss = torch.stack([x.mean() - (0.0 if i == rank else 9.0) for x, i in zip(pixels, indices)])
            return loss, loss.detach() > 0  # example i falls at rank i

        return score

    result = targeted(score_for, [3, 3, 2, 1], partial(pgd, steps=2), [GREY] * 4, LINF, seeds=range(4))
    assert list(dict.fromkeys(calls)) == [(0, (0, 1, 2, 3)), (1, (1, 2))]
    assert result.success.tolist() == [True, True, False, False]  # number 2 has no rank 2, number 3 no rank 1
    assert result.forwards.tolist() == [4, 8, 8, 4]
    assert result.backwards.tolist() == [2, 4, 4, 2]
    assert result.restarts_used.tolist() == [1, 2, 2, 1]


def far_behind_a_wall(x):
    """Three classes: class 1 is close and out of reach, class 2 is far and in reach, in the other direction."""
    along = (x - GREY).mean(dim=(1, 2, 3)) * 255  # -8 .. 8
    right = torch.zeros_like(along)
    return torch.stack([right, -0.5 + 0.3 * torch.tanh(along), -8.2 - 1.1 * along], dim=1)


def test_a_class_behind_a_closer_one_is_found():
    labels, start = torch.tensor([0]), to_images(torch.full((3, 2, 2), 129))
    untargeted = pgd(ClassifierScore(far_behind_a_wall, labels), [GREY], LINF, steps=20, seeds=[0], starts=[start])
    assert untargeted.success.tolist() == [False]
    swept = targeted(ranked(far_behind_a_wall, [GREY], labels), [2], partial(pgd, steps=20), [GREY], LINF, seeds=[0])
    assert swept.success.tolist() == [True]
    assert LINF.contains(swept.images[0], GREY)


@pytest.mark.parametrize("loss", ["margin", "ce", "dlr"])
def test_two_options_are_one_rank(loss):
    def net(x):
        up = (x - GREY).mean(dim=(1, 2, 3)) * 255
        return torch.stack([torch.full_like(up, 5.0), up], dim=1).log_softmax(1)

    labels = torch.tensor([0])
    result = targeted(ranked(net, [GREY], labels, loss), [1], partial(pgd, steps=5), [GREY], LINF, seeds=[0])
    assert result.success.tolist() == [True]


def test_no_wrong_class_is_no_search_and_unequal_lists_are_refused():
    def score_for(rank):
        raise AssertionError("never asked")

    result = targeted(score_for, [0], partial(pgd, steps=2), [GREY], LINF, seeds=[0])
    assert torch.equal(result.images[0], GREY)
    assert result.forwards.tolist() == [0]
    with pytest.raises(ValueError, match="wrong classes"):
        targeted(score_for, [1, 1], partial(pgd, steps=2), [GREY], LINF, seeds=[0])
