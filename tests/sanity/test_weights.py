"""Other weights for a while, and afterwards the old ones, bit for bit."""

import pytest
import torch
from torch import nn

from medproof.sanity.weights import in_precision, noisy


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(40, 40), nn.Linear(40, 40, bias=False)
        self.two.weight = self.one.weight  # tied
        self.register_buffer("angles", torch.rand(5))


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_noise_is_as_large_as_said_and_fixed_by_the_seed() -> None:
    net = Net()
    before = state(net)
    with noisy(net, 3, 0.1):
        once = state(net)
    with noisy(net, 3, 0.1):
        again = state(net)
    with noisy(net, 4, 0.1):
        other = state(net)
    size = float(before["one.weight"].square().mean().sqrt())
    assert float((once["one.weight"] - before["one.weight"]).std()) == pytest.approx(0.1 * size, rel=0.1)
    assert torch.equal(once["one.weight"], again["one.weight"])
    assert not torch.equal(once["one.weight"], other["one.weight"])
    assert torch.equal(once["one.weight"], once["two.weight"]), "tied weights stay tied"
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_precision_changes_parameters_and_no_buffer() -> None:
    net = Net()
    before = state(net)
    with in_precision(net, torch.bfloat16):
        assert net.one.weight.dtype == net.one.bias.dtype == torch.bfloat16
        assert net.angles.dtype == torch.float32
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_an_error_inside_restores_too() -> None:
    net = Net()
    before = state(net)
    with pytest.raises(RuntimeError, match="inside"), in_precision(net, torch.bfloat16):
        raise RuntimeError("inside")
    assert torch.equal(net.one.weight, before["one.weight"])
