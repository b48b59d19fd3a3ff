"""What running something costs: seconds, operations, and a loader's rate."""

import time
from collections.abc import Callable
from itertools import chain, count
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from medstrata.data.loader import Loader

_LOADED_S = 2.0  # the loader is measured for about as long


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, from an idle device to an idle device."""
    _wait(device)
    started = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_operations(run: Callable[[], object]) -> int:
    """Run something and count what its convolutions and products compute, forward and backward.

    Compiled code is not seen.

    Args:
        run: Called once.
    """
    counted = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        run()
    return int(counter.get_total_flops())


def _convolution_backward(
    gradient: list[int], images: list[int], weight: list[int], *others: Any, **_output: Any
) -> int:
    """As many as forward for each gradient that is wanted, of the images and of the weight.

    PyTorch's own count takes the gradient of a grouped weight for that of a dense one.

    Args:
        gradient: Shape of the output, (B, C, H, W).
        images: Shape of the input.
        weight: Shape of the weight, (C, channels of a group, height, width).
        others: Bias, stride, padding, dilation, whether it is transposed, output padding, groups,
            and which gradients are wanted: of images, weight and bias.
    """
    transposed, _padding, _groups, wanted = others[-4:]
    places = images[2:] if transposed else gradient[2:]
    return 2 * images[0] * prod(places) * prod(weight) * int(sum(wanted[:2]))


def loader_rates(loader: Loader) -> tuple[float, float]:
    """What a loader makes while nothing else runs: samples a second, and a processor second."""
    made, started, own = 0, time.perf_counter(), time.process_time()
    for batch in chain.from_iterable(loader.batches(epoch) for epoch in count()):
        made += len(batch.ids)
        if time.perf_counter() - started > _LOADED_S:
            break
    return made / (time.perf_counter() - started), made / (time.process_time() - own)
