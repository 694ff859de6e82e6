"""What searches for the smallest perturbation promise: the batch, the counts, the 8-bit finish, the limit."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_scores import any_image

from medproof.attacks.carlini_wagner import cw_l2
from medproof.attacks.ddn import ddn
from medproof.attacks.minimal import FINISH_TRIES, Bracket, smallest_eps
from medproof.attacks.pgd import pgd
from medproof.attacks.threat import levels, to_images


def bisected(score, images, *, seeds):
    def attack(score, images, threat, seeds):
        return pgd(score, images, threat, steps=5, seeds=seeds, restarts=2)

    return smallest_eps(attack, score, images, seeds=seeds, largest=60)


L2 = {"cw": partial(cw_l2, steps=25, search_steps=3), "ddn": partial(ddn, steps=25)}
ATTACKS = {**L2, "smallest_eps": bisected}
EXAMPLES = [((3, 28, 28), 0), ((3, 5, 9), 1), ((3, 28, 28), 2), ((3, 1, 1), 3), ((3, 5, 9), 4)]
COLUMNS = ("distance", "success", "loss", "forwards", "backwards", "zero_gradients", "broken")

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
every_l2 = pytest.mark.parametrize("attack", L2.values(), ids=L2)


def hills(examples, gap=0.05):
    """A loss with many hills, of each image by itself; -gap for the clean ones."""
    waves = [torch.randn(shape, generator=torch.Generator().manual_seed(50 + seed)) for shape, seed in examples]
    offsets = [torch.sin(9 * w * any_image(*example)).mean() + gap for w, example in zip(waves, examples)]

    def score(pixels, indices):
        loss = torch.stack([torch.sin(9 * waves[i] * x).mean() - offsets[i] for i, x in zip(indices, pixels)])
        return loss, loss.detach() > 0

    return score


def slope(clean, need):
    """Linear in the mean: adversarial once the image is brighter by `need` on average."""

    def score(pixels, indices):
        loss = torch.stack([(x - clean).mean() - need for x in pixels])
        return loss, loss.detach() > 0

    return score


@every_attack
def test_alone_or_in_a_mixed_batch_is_the_same_bit_for_bit(attack):
    images, seeds = [any_image(*example) for example in EXAMPLES], [7, 8, 9, 10, 11]
    together = attack(hills(EXAMPLES), images, seeds=seeds)
    assert together.success.any()
    turned = attack(hills(EXAMPLES[::-1]), images[::-1], seeds=seeds[::-1])
    for i, example in enumerate(EXAMPLES):
        alone = attack(hills([example]), [images[i]], seeds=[seeds[i]])
        for other, row in ((alone, 0), (turned, len(EXAMPLES) - 1 - i)):
            assert torch.equal(other.images[row], together.images[i])
            for name in COLUMNS:
                assert torch.equal(getattr(other, name)[row], getattr(together, name)[i]), name


@every_attack
def test_an_image_that_is_adversarial_as_it_is_comes_back(attack):
    clean = any_image((3, 5, 9), 0)
    result = attack(slope(clean, -0.01), [clean], seeds=[0])
    assert torch.equal(result.images[0], clean)
    assert result.success.tolist() == [True]
    assert result.distance.tolist() == [0.0]


@every_attack
def test_verdict_and_loss_are_those_of_the_returned_8_bit_image(attack):
    images, score = [any_image(*example) for example in EXAMPLES], hills(EXAMPLES)
    result = attack(score, images, seeds=range(5))
    for returned in result.images:
        levels(returned)  # raises unless 8-bit
    loss, adversarial = score(result.images, range(5))
    assert torch.equal(adversarial, result.success)
    assert result.loss[result.success].tolist() == pytest.approx(loss[result.success].tolist(), abs=1e-6)
    assert torch.equal(result.distance.isfinite(), result.success)


@every_attack
def test_inputs_are_left_alone(attack):
    images = [any_image(*example) for example in EXAMPLES]
    before = [x.clone() for x in images]
    attack(hills(EXAMPLES), images, seeds=range(5))
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(images, before))


@every_attack
def test_an_empty_batch_is_an_empty_result(attack):
    result = attack(hills([]), [], seeds=[])
    assert result.images == []
    assert result.distance.shape == (0,)


@every_l2
@pytest.mark.parametrize("poison", ["gradient", "loss"])
def test_nan_ends_one_search_and_spares_the_neighbours(attack, poison):
    examples = EXAMPLES[:1] + EXAMPLES[2:3]  # one shape
    images, plain, calls = [any_image(*example) for example in examples], hills(examples), []

    def score(pixels, indices):
        calls.append(list(indices))
        loss, adversarial = plain(pixels, indices)
        if 0 in indices and len(calls) >= 4:
            row = list(indices).index(0)
            bad = (pixels[row].sum() * 0).sqrt() if poison == "gradient" else pixels[row].sum() * math.nan
            loss = torch.stack([value + bad if place == row else value for place, value in enumerate(loss)])
        return loss, adversarial

    result = attack(score, images, seeds=[0, 1])
    untouched = attack(hills(examples[1:]), images[1:], seeds=[1])
    assert result.broken.tolist() == [True, False]
    assert result.backwards.tolist() == [4, int(untouched.backwards[0])]
    assert torch.equal(result.images[1], untouched.images[0])
    assert result.images[0].isfinite().all()


@every_l2
def test_passes_are_counted(attack):
    calls = []

    def score(pixels, indices):
        calls.append(pixels[0].requires_grad)
        return hills(EXAMPLES[:1])(pixels, indices)

    result = attack(score, [any_image(*EXAMPLES[0])], seeds=[0])
    assert int(result.forwards[0]) == len(calls)
    assert int(result.backwards[0]) == sum(calls) == 1 + (75 if attack is L2["cw"] else 25)
    assert int(result.forwards[0] - result.backwards[0]) <= FINISH_TRIES


@every_l2
def test_no_image_beyond_the_limit_is_returned(attack):
    clean = to_images(torch.full((3, 4, 4), 100))
    needed = 0.1 * math.sqrt(clean.numel())
    assert float(attack(slope(clean, 0.1), [clean], seeds=[0]).distance[0]) == pytest.approx(needed, rel=0.05)
    assert attack(slope(clean, 0.1), [clean], seeds=[0], limit=needed * 1.05).success.tolist() == [True]
    assert attack(slope(clean, 0.1), [clean], seeds=[0], limit=needed * 0.9).success.tolist() == [False]


def test_a_hopeless_example_leaves_the_search():
    clean = to_images(torch.full((3, 4, 4), 100))
    spread = (torch.arange(48.0).reshape(3, 4, 4) + 1) / 1000

    def score(pixels, indices):  # rises for ever and is never adversarial
        return torch.stack([(x * spread).sum() - 1 for x in pixels]), torch.zeros(len(pixels), dtype=torch.bool)

    attack = partial(cw_l2, score, [clean], seeds=[0], steps=30, search_steps=6)
    assert int(attack(limit=0.2).backwards[0]) < int(attack().backwards[0]) == 1 + 30 * 6


def test_kappa_asks_for_a_lead():
    clean = to_images(torch.full((3, 4, 4), 100))
    attack = partial(cw_l2, slope(clean, 0.1), [clean], seeds=[0], steps=100, search_steps=4)
    plain, sure = attack(), attack(kappa=0.05)
    assert float(sure.loss[0]) >= 0.05 > float(plain.loss[0])
    assert float(sure.distance[0]) == pytest.approx(0.15 * math.sqrt(48), rel=0.05)


def test_the_answer_may_drive_the_search_although_its_loss_is_never_negative():
    """-log p is above 0 on either side of the border: only the verdict knows."""
    clean = to_images(torch.full((3, 4, 4), 100))

    def score(pixels, indices):
        lead = torch.stack([30 * ((x - clean).mean() - 0.1) for x in pixels])
        return torch.nn.functional.softplus(lead), lead.detach() > 0

    for attack in (partial(cw_l2, steps=100, search_steps=5), partial(ddn, steps=60)):
        assert float(attack(score, [clean], seeds=[0]).distance[0]) == pytest.approx(0.1 * math.sqrt(48), rel=0.05)


def test_smallest_eps_counts_every_run_and_stops_at_the_largest():
    clean = to_images(torch.full((3, 4, 4), 100))
    result = bisected(slope(clean, 61 / 255), [clean], seeds=[0])
    assert result.success.tolist() == [False]
    assert int(result.backwards[0]) == 6 * 10  # 30, 45, 53, 57, 59, 60: 5 steps, 2 restarts
    assert float(bisected(slope(clean, 59.5 / 255), [clean], seeds=[0]).distance[0]) == 60 / 255


@given(border=st.floats(1e-6, 1e6), first=st.floats(1e-3, 1e3), stride=st.sampled_from([1.02, 4.0]))
@settings(max_examples=60, deadline=None)
def test_bracket_closes_in_on_the_border(border, first, stride):
    bracket = Bracket(first, stride)
    for _ in range(60):
        bracket.judge(bracket.value >= border)
    assert bracket.low < border <= bracket.high
    assert bracket.high == pytest.approx(border, rel=1e-5)


@pytest.mark.parametrize(
    ("attack", "change", "message"),
    [
        (cw_l2, {"steps": 0, "search_steps": 1}, "at least 1"),
        (cw_l2, {"steps": 1, "search_steps": 0}, "at least 1"),
        (ddn, {"steps": 0}, "at least 1"),
        (ddn, {"steps": 1, "seeds": [0, 1]}, "as many seeds"),
    ],
)
def test_impossible_calls_are_refused(attack, change, message):
    clean = any_image((3, 2, 2), 0)
    with pytest.raises(ValueError, match=message):
        attack(slope(clean, 0.1), [clean], **{"seeds": [0], **change})


def test_images_that_are_not_8_bit_are_refused():
    with pytest.raises(ValueError, match="8-bit"):
        ddn(slope(torch.zeros(3, 2, 2), 0.1), [torch.full((3, 2, 2), 0.5)], steps=1, seeds=[0])
