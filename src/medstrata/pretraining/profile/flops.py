"""How many floating-point operations the convolutions and products of a step take."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_operations(step: Callable[[], object]) -> int:
    """Run something and count what its convolutions and products compute, forward and backward.

    Compiled code is not seen.

    Args:
        step: Called once.
    """
    counted = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        step()
    return int(counter.get_total_flops())


def _convolution_backward(
    gradient: list[int],
    images: list[int],
    weight: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: list[bool],
    **_: Any,
) -> int:
    """As many as forward for each gradient that is wanted, of the images and of the weight.

    PyTorch's own count takes the gradient of a grouped weight for that of a dense one.

    Args:
        gradient: Shape of the output, (B, C, H, W).
        images: Shape of the input.
        weight: Shape of the weight, (C, channels of a group, height, width).
        transposed: Whether it is a transposed convolution.
        wanted: Of images, weight and bias.
    """
    places = images[2:] if transposed else gradient[2:]
    return 2 * images[0] * prod(places) * prod(weight) * sum(wanted[:2])
