"""A planted adversary: a sound attack finds it, broken ones do not, and random images do not either."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from medproof.attacks import AttackResult, Score, ThreatModel, pgd, to_images
from medproof.attacks.search import Search
from medproof.sanity.checks import planted as judge
from medproof.sanity.planted import Features, Found, search

SHAPE = (3, 12, 12)
LINF = ThreatModel("linf", Fraction(8, 255))
N = 8


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [to_images(torch.randint(0, 256, SHAPE, generator=generator, dtype=torch.int32)) for _ in range(N)]


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 12 * 12, 256), torch.nn.Tanh())
    return layers.requires_grad_(False)


def features(change: Callable[[Tensor], Tensor] = lambda x: x) -> Features:
    layers = net()
    return lambda pixels, _: layers(change(torch.stack(list(pixels))))


def attack(threat: ThreatModel, steps: int = 20, sign: float = 1.0, **settings: int) -> Search:
    """PGD in a ball of its own, whatever it is asked for."""

    def run(
        score: Score, clean: Sequence[Tensor], asked_for: ThreatModel, /, *, seeds: Sequence[int], **_: object
    ) -> AttackResult:
        def asked(pixels: Sequence[Tensor], indices: Sequence[int], /) -> tuple[Tensor, Tensor]:
            loss, adversarial = score(pixels, indices)
            return sign * loss, adversarial

        return pgd(asked, clean, threat, steps=steps, seeds=seeds, **settings)

    return run


def verdict(found: Found) -> str:
    return judge(sum(found.attack), sum(found.chance), N).verdict


@pytest.mark.parametrize("threat", [LINF, ThreatModel("l2", Fraction(1, 2))], ids=["linf", "l2"])
def test_a_sound_attack_finds_all_and_random_images_few(threat: ThreatModel) -> None:
    found = search(features(), images(), threat, attack(threat), range(N))
    assert all(found.attack)
    assert sum(found.chance) <= N // 4
    assert verdict(found) == "passed"


@pytest.mark.parametrize(
    "bad",
    [
        attack(LINF, sign=-1.0),
        attack(ThreatModel("linf", Fraction(1, 255))),
        lambda score, clean, threat, *, seeds: attack(threat, steps=1)(
            lambda p, i: (score(p, i)[0] * 0, score(p, i)[1]), clean, threat, seeds=seeds
        ),
    ],
    ids=["wrong sign", "too little room", "no gradient"],
)
def test_broken_attacks_are_caught(bad: Search) -> None:
    found = search(features(), images(), LINF, bad, range(N))
    assert verdict(found) == "failed"


def test_masked_gradients_of_the_model_are_caught() -> None:
    stairs = features(lambda x: torch.round(x * 40) / 40)  # its gradient is zero everywhere
    found = search(stairs, images(), LINF, attack(LINF), range(N))
    assert sum(found.attack) < N
    assert verdict(found) == "failed"


def test_a_readout_depends_on_its_image_and_seed_alone() -> None:
    pictures = images()
    whole = search(features(), pictures, LINF, attack(LINF, steps=2), range(N))
    part = search(features(), pictures[3:5], LINF, attack(LINF, steps=2), range(3, 5))
    assert (part.attack, part.chance) == (whole.attack[3:5], whole.chance[3:5])
