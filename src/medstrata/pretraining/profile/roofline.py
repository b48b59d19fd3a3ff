"""What a device can do at most: large products, a ResNet's convolutions, copying."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from medstrata.runtime.devices import device_name, has_native_bf16, processor_has_native_bf16


class _Convolution(NamedTuple):
    """A layer of a ResNet-50 at 224 px."""

    inputs: int
    outputs: int
    kernel: int
    side: int  # of the map, pixels


_CONVOLUTIONS = {
    "3x3, 64 to 64 channels, 56 px": _Convolution(64, 64, 3, 56),
    "1x1, 256 to 64 channels, 56 px": _Convolution(256, 64, 1, 56),
    "3x3, 256 to 256 channels, 14 px": _Convolution(256, 256, 3, 14),
    "1x1, 1024 to 256 channels, 14 px": _Convolution(1024, 256, 1, 14),
}
# Large enough for the rates to have levelled off, small enough for seconds.
_SIDE = {"cpu": 2048, "cuda": 8192}
_IMAGES = {"cpu": 16, "cuda": 256}
_COPIED_MIB = {"cpu": 256, "cuda": 2048}


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The highest rates that were seen on a device.

    Attributes:
        device: Its name.
        threads: Threads of PyTorch on a CPU.
        product: Precision (`fp32`, `bf16`) -> GFLOP/s of a large product; bf16 is left out where
            the hardware only emulates it.
        convolution: Precision -> shape -> GFLOP/s of a forward convolution in channels-last memory.
        copy_gb_per_s: Bytes read and written a second by a large copy, in 10^9.
    """

    device: str
    threads: int
    product: Mapping[str, float]
    convolution: Mapping[str, Mapping[str, float]]
    copy_gb_per_s: float

    def best(self, precision: str) -> float:
        """GFLOP/s that nothing measured in a precision exceeds; of fp32 where it is emulated."""
        precision = precision if precision in self.product else "fp32"
        return max(self.product[precision], *self.convolution[precision].values())


def measure_ceiling(device: torch.device, *, repeats: int = 3) -> Ceiling:
    """Measure a device, in a few seconds; nothing global is changed, random state included.

    Args:
        device: CPU or CUDA; a CPU with as many threads as PyTorch is set to.
        repeats: Timed runs of each measurement; the fastest counts.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    native = has_native_bf16() if kind == "cuda" else processor_has_native_bf16()
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if native else {})
    seconds = partial(_fastest, device, repeats)
    with torch.no_grad():
        return Ceiling(
            device=device_name(device),
            threads=torch.get_num_threads(),
            product={
                name: _product(_SIDE[kind], device, dtype, seconds)
                for name, dtype in precisions.items()
            },
            convolution={
                name: {
                    shape: _convolution(layer, _IMAGES[kind], device, dtype, seconds)
                    for shape, layer in _CONVOLUTIONS.items()
                }
                for name, dtype in precisions.items()
            },
            copy_gb_per_s=_copy(_COPIED_MIB[kind], device, seconds),
        )


_Seconds = Callable[[Callable[[], object]], float]


def _fastest(device: torch.device, repeats: int, task: Callable[[], object]) -> float:
    """Seconds of the fastest run of a task, after one that warms up."""
    found = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        task()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


def _noise(*shape: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Random numbers, as zeros would be multiplied faster, from a generator of their own."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(*shape, generator=generator, device=device).to(dtype)


def _product(side: int, device: torch.device, dtype: torch.dtype, seconds: _Seconds) -> float:
    first, second = (_noise(side, side, device=device, dtype=dtype) for _ in range(2))
    return float(2 * side**3 / seconds(lambda: first @ second) / 1e9)


def _convolution(
    layer: _Convolution, images: int, device: torch.device, dtype: torch.dtype, seconds: _Seconds
) -> float:
    inputs, outputs, kernel, side = layer
    noise = partial(_noise, device=device, dtype=dtype)
    maps = noise(images, inputs, side, side).contiguous(memory_format=torch.channels_last)
    weights = noise(outputs, inputs, kernel, kernel).contiguous(memory_format=torch.channels_last)
    taken = seconds(lambda: F.conv2d(maps, weights, padding=kernel // 2))
    return float(2 * images * outputs * inputs * kernel**2 * side**2 / taken / 1e9)


def _copy(size_mib: int, device: torch.device, seconds: _Seconds) -> float:
    source = torch.ones(size_mib * 2**18, device=device)  # float32: 2^18 to a MiB
    target = torch.empty_like(source)
    return float(2 * source.nbytes / seconds(lambda: target.copy_(source)) / 1e9)
