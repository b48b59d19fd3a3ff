"""Layers that a CPU computes another way: in float32, or on the pixels that they read alone."""

import copy
import os
import subprocess
import sys

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn

from medstrata.models.cpu_convolutions import SubsampledConv2d, replace_convolutions
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
    replace_convolutions(make_accelerator("bf16"), network)
    with torch.autocast("cpu", torch.bfloat16):
        computed = network(maps)
    assert torch.equal(computed.float(), exact) == replaced


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_and_their_order_stay_and_copies_have_their_own(name: str) -> None:
    network = timm.create_model(name, num_classes=0).eval()
    keys, weights = list(network.state_dict()), list(network.parameters())
    replace_convolutions(make_accelerator("bf16"), network)
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
    replace_convolutions(make_accelerator("fp32"), network)
    assert network[0] is layer


@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
@pytest.mark.parametrize("stride", [2, 4])
def test_single_pixels_with_a_stride_and_few_channels_are_picked_first(
    kind: type[nn.Conv2d], stride: int
) -> None:
    layer, maps = kind(4, 6, 1, stride), torch.rand(2, 4, 9, 8)
    exact = layer(maps)  # forward passes are sound
    network = nn.Sequential(layer)
    replace_convolutions(make_accelerator("fp32"), network)
    assert isinstance(network[0], SubsampledConv2d)
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    computed = network(maps.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(computed, exact, atol=1e-6)
    computed.sum().backward()
    read = maps[..., ::stride, ::stride].sum(dim=(0, 2, 3))
    assert torch.allclose(layer.weight.grad[:, :, 0, 0], read.expand(6, 4))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 6, 1, 2),  # fills a vector
        nn.Conv2d(4, 6, 1),
        nn.Conv2d(4, 6, 3, 2),
        nn.Conv2d(4, 4, 1, 2, groups=4),
        nn.Conv2d(4, 6, 1, 2, padding=1),
    ],
    ids=str,
)
def test_other_convolutions_stay(layer: nn.Conv2d) -> None:
    network = nn.Sequential(layer)
    replace_convolutions(make_accelerator("fp32"), network)
    assert network[0] is layer


_TRAINED = """
import timm, torch
from medstrata.models.cpu_convolutions import SubsampledConv2d, replace_convolutions
from medstrata.runtime.devices import make_accelerator
network = timm.create_model("repvgg_a0", num_classes=0, in_chans=int("{channels}"))
network = network.to(memory_format=torch.channels_last)
replace_convolutions(make_accelerator("fp32"), network)
for _ in range(3):
    network(torch.rand(8, 64, 64, int("{channels}")).permute(0, 3, 1, 2)).square().mean().backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_that_begin_with_such_a_layer_survive_training_on_avx2(channels: int) -> None:
    words = [sys.executable, "-c", _TRAINED.format(channels=channels)]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    assert subprocess.run(words, env=environment, check=False).returncode == 0
