"""The patch embedding as a linear map: same values, same gradients, same state."""

import pytest
import torch
from torch import nn

from medproof.images.grid import Grid
from medproof.models.patch_embed import PatchProjection, still, use_linear_patch_embedding


@pytest.mark.parametrize("bias", [False, True])
def test_equal_to_the_convolution(bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4), bias=bias).double())
    state = {name: value.clone() for name, value in net.state_dict().items()}
    patches = torch.randn(5, 3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    before = net(patches)
    (wanted,) = torch.autograd.grad(before.square().sum(), patches)
    use_linear_patch_embedding(net)
    after = net(patches)
    (found,) = torch.autograd.grad(after.square().sum(), patches)
    assert isinstance(net[0], PatchProjection)
    assert after.shape == before.shape
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(found, wanted)
    assert state.keys() == net.state_dict().keys()


def test_convolutions_that_are_not_patch_embeddings_are_left_alone() -> None:
    net = nn.Sequential(nn.Conv3d(3, 8, 3, stride=1), nn.Conv3d(3, 8, 2, stride=2, padding=1))
    use_linear_patch_embedding(net)
    assert [type(module) for module in net] == [nn.Conv3d, nn.Conv3d]


def test_anything_but_one_patch_per_row_is_refused() -> None:
    net = nn.Sequential(nn.Conv3d(3, 8, 2, stride=2))
    use_linear_patch_embedding(net)
    with pytest.raises(ValueError, match="expected patches"):
        net(torch.zeros(1, 3, 4, 4, 4))


def test_still_frames_are_multiplied_once_and_give_the_same() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4)).double())
    use_linear_patch_embedding(net)
    picture = torch.randn(5, 48, dtype=torch.float64, requires_grad=True)
    frames = still(picture, Grid(patch_size=4))
    assert frames.shape == (5, 3, 2, 4, 4)
    assert frames.data_ptr() == picture.data_ptr()
    outputs = [net(frames), net(frames.contiguous())]
    torch.testing.assert_close(outputs[0], outputs[1])
    gradients = [torch.autograd.grad(out.square().sum(), picture)[0] for out in outputs]
    torch.testing.assert_close(gradients[0], gradients[1])
