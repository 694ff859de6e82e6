"""Reading weights out of wrapped and adapted networks, and copying them into an engine's own network."""

import copy
from collections.abc import Iterator

import peft
import pytest
import torch
from rollout_cases import make_prompts, written
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from medproof import models
from medproof.models import nano
from medproof.models.qwen_vl import QwenVL
from medproof.training.groups import Images
from medproof.training.rollout.engine import Sampling
from medproof.training.rollout.local import LocalEngine
from medproof.training.rollout.weights import bare, merged_weights


@pytest.fixture(scope="module")
def model() -> QwenVL:
    return models.load("nano", device="cpu")


def adapted(model: QwenVL) -> peft.PeftModel:
    """With an adapter that counts."""
    config = peft.LoraConfig(r=2, lora_dropout=0.5, target_modules=["q_proj", "v_proj"])
    net = peft.get_peft_model(copy.deepcopy(model.net).requires_grad_(True), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return net


class Wrapped(nn.Module):
    """As DistributedDataParallel keeps what it wraps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_the_network_inside_its_wrappers(model: QwenVL) -> None:
    net = adapted(model)
    assert bare(model.net) is model.net
    assert bare(Wrapped(net)) is net.get_base_model()
    assert bare(torch.compile(model.net)) is model.net


def test_merged_weights_are_those_of_peft_and_nothing_is_touched(model: QwenVL) -> None:
    net = adapted(model)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    merged = dict(merged_weights(net))
    expected = dict(copy.deepcopy(net).merge_and_unload().named_parameters())
    assert merged.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value.detach(), msg=name)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    changed = [name for name, value in model.net.named_parameters() if not torch.equal(value, merged[name])]
    assert len(changed) == 8, "q_proj and v_proj of four layers"


def test_an_adapter_is_sampled_with_and_its_dropout_is_not(model: QwenVL) -> None:
    """In training mode, LoRA dropout 0.5: the completions are those of the merged network."""
    net = adapted(model).train()
    prompts = make_prompts(model, [(112, 112), (84, 112)])
    images = Images.of_prompts(prompts)
    sampled = LocalEngine(net, model.chat, model.grid).generate(prompts, images, Sampling(2, 6))
    merged = LocalEngine(copy.deepcopy(net).merge_and_unload(), model.chat, model.grid)
    assert written(sampled) == written(merged.generate(prompts, images, Sampling(2, 6)))
    plain = LocalEngine(model.net, model.chat, model.grid).generate(prompts, images, Sampling(2, 6))
    assert written(sampled) != written(plain)
    assert all(module.training for module in net.modules())


def test_an_engine_with_its_own_copy_follows_by_sync(model: QwenVL) -> None:
    net = nano.build_net(nano.build_config(model.chat.tokenizer), seed=3)
    engine = LocalEngine(copy.deepcopy(net), model.chat, model.grid)
    prompts = make_prompts(model, [(84, 112)])
    images = Images.of_prompts(prompts)
    before = written(engine.generate(prompts, images, Sampling(2, 6)))
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(1.1)
    assert written(engine.generate(prompts, images, Sampling(2, 6))) == before
    engine.sync(Wrapped(net))
    expected = LocalEngine(net, model.chat, model.grid).generate(prompts, images, Sampling(2, 6))
    assert written(engine.generate(prompts, images, Sampling(2, 6))) == written(expected) != before


@pytest.fixture
def one_process() -> Iterator[None]:
    """A process group of this process alone, as FSDP2 needs one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_sync_gathers_what_fsdp_has_sharded(model: QwenVL) -> None:
    net = nano.build_net(nano.build_config(model.chat.tokenizer), seed=4)
    engine = LocalEngine(copy.deepcopy(model.net), model.chat, model.grid)
    expected = {name: value.detach().clone() for name, value in net.named_parameters()}
    mesh = init_device_mesh("cpu", (1,))
    for layer in net.model.language_model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    assert all(isinstance(value, DTensor) for value in net.parameters())
    engine.sync(net)
    copied = dict(engine._net.named_parameters())
    assert all(torch.equal(copied[name], value) for name, value in expected.items())
    gathered = dict(merged_weights(net))
    assert all(torch.equal(gathered[name], value) for name, value in expected.items())


def test_sync_refuses_a_network_with_other_parameters(model: QwenVL) -> None:
    engine = LocalEngine(copy.deepcopy(model.net), model.chat, model.grid)
    with pytest.raises(ValueError, match="lora_A"):
        engine.sync(adapted(model))
