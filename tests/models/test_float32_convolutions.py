"""Layers that compute in float32 within a network that computes in bfloat16."""

import copy

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn

from medstrata.models.float32_convolutions import replace_slow_convolutions
from medstrata.runtime.devices import make_accelerator

NETWORKS = ("mobilenetv3_small_050", "tf_efficientnet_lite0")  # the second pads as TensorFlow does


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize(
    ("stride", "kernel", "groups", "replaced"),
    [(2, 3, 8, True), (1, 5, 8, True), (1, 3, 8, False), (2, 3, 1, False), (2, 3, 4, False)],
)
def test_depthwise_convolutions_slow_in_bf16_compute_in_float32(
    kind: type[nn.Conv2d], stride: int, kernel: int, groups: int, replaced: bool
) -> None:
    layer = kind(8, 8, kernel, stride, groups=groups)
    maps = torch.rand(2, 8, 9, 9)
    exact = layer(maps)
    network = nn.Sequential(layer)
    replace_slow_convolutions(make_accelerator("bf16"), network)
    with torch.autocast("cpu", torch.bfloat16):
        computed = network(maps)
    assert torch.equal(computed.float(), exact) == replaced


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_their_order_stay_and_copies_have_their_own(name: str) -> None:
    network = timm.create_model(name, num_classes=0).eval()
    keys, weights = list(network.state_dict()), list(network.parameters())
    replace_slow_convolutions(make_accelerator("bf16"), network)
    assert list(network.state_dict()) == keys
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))
    assert not any(module.training for module in network.modules())
    twin = copy.deepcopy(network)
    assert list(twin.state_dict()) == keys
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    images = torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).abs().sum() > 0
        assert twin(images).abs().sum() == 0


def test_in_float32_nothing_is_replaced() -> None:
    layer = nn.Conv2d(8, 8, 5, groups=8)
    network = nn.Sequential(layer)
    replace_slow_convolutions(make_accelerator("fp32"), network)
    assert network[0] is layer
