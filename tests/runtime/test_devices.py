"""Precision, of runs and of layers."""

import copy

import pytest
import timm
import torch
from torch import nn

from medstrata.runtime.devices import computed_in, make_accelerator, spare_slow_convolutions


def test_runs_of_one_process_may_differ_in_precision() -> None:
    for precision in ("bf16", "fp32"):
        assert computed_in(make_accelerator(precision)) == precision


@pytest.mark.parametrize(
    ("stride", "kernel", "groups", "spared"),
    [(2, 3, 8, True), (1, 5, 8, True), (1, 3, 8, False), (2, 3, 1, False), (2, 3, 4, False)],
)
def test_depthwise_convolutions_slow_in_bf16_compute_in_float32(
    stride: int, kernel: int, groups: int, spared: bool
) -> None:
    accelerator = make_accelerator("bf16")
    layer = nn.Conv2d(8, 8, kernel, stride, groups=groups)
    maps = torch.rand(2, 8, 9, 9)
    exact = layer(maps)
    network = nn.Sequential(layer)
    spare_slow_convolutions(accelerator, network)
    with torch.autocast("cpu", torch.bfloat16):
        computed = network(maps)
    assert torch.equal(computed.float(), exact) == spared


def test_sparing_leaves_copies_and_state_dicts_as_they_are() -> None:
    network = timm.create_model("mobilenetv3_small_050", num_classes=0)
    keys = list(network.state_dict())
    spare_slow_convolutions(make_accelerator("bf16"), network)
    twin = copy.deepcopy(network)
    assert list(twin.state_dict()) == keys
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    images = torch.rand(2, 3, 32, 32)
    network.eval(), twin.eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).abs().sum() > 0
        assert twin(images).abs().sum() == 0


def test_in_float32_nothing_is_spared() -> None:
    layer = nn.Conv2d(8, 8, 5, groups=8)
    spare_slow_convolutions(make_accelerator("fp32"), layer)
    assert "forward" not in vars(layer)
