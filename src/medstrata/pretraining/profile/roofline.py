"""What a device can do at most: large products, a ResNet's convolutions, copying."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from medstrata.pretraining.profile.measure import count_operations, timed
from medstrata.runtime.devices import device_name, has_native_bf16, processor_has_native_bf16

# Layers of a ResNet-50 at 224 px: kernel, channels in and out, side of the map in pixels.
_CONVOLUTIONS = ((3, 64, 64, 56), (1, 256, 64, 56), (3, 256, 256, 14), (1, 1024, 256, 14))
# Large enough for the rates to have levelled off, small enough for seconds.
_SIDE = {"cpu": 2048, "cuda": 8192}
_IMAGES = {"cpu": 16, "cuda": 256}
_COPIED_MIB = {"cpu": 256, "cuda": 2048}


@dataclass(frozen=True, kw_only=True)
class Roofline:
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

    def share(self, flop: float, seconds: float, precision: str) -> float:
        """What part of the best rate a task reached."""
        return flop / seconds / 1e9 / self.best(precision)


def measure_roofline(device: torch.device, *, repeats: int = 3) -> Roofline:
    """Measure a device, in a few seconds; nothing global is changed, random state included.

    Args:
        device: CPU or CUDA; a CPU with as many threads as PyTorch is set to.
        repeats: Timed runs of each measurement; the fastest counts.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    native = has_native_bf16() if kind == "cuda" else processor_has_native_bf16()
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if native else {})
    product: dict[str, float] = {}
    convolution: dict[str, dict[str, float]] = {}

    def seconds(task: Callable[[], object]) -> float:
        return min(timed(task, device) for _ in range(repeats + 1))  # the first warms up

    def gflop_per_s(task: Callable[[], object]) -> float:
        return count_operations(task) / seconds(task) / 1e9

    with torch.no_grad():
        for precision, dtype in precisions.items():
            noise = partial(_noise, device=device, dtype=dtype)
            side = _SIDE[kind]
            product[precision] = gflop_per_s(
                partial(torch.mm, noise(side, side), noise(side, side))
            )
            convolution[precision] = {}
            for kernel, inputs, outputs, side in _CONVOLUTIONS:
                maps = noise(_IMAGES[kind], inputs, side, side)
                weights = noise(outputs, inputs, kernel, kernel)
                shape = f"{kernel}x{kernel}, {inputs} to {outputs} channels, {side} px"
                convolution[precision][shape] = gflop_per_s(
                    partial(F.conv2d, maps, weights, padding=kernel // 2)
                )
        source = torch.ones(_COPIED_MIB[kind] * 2**18, device=device)  # float32: 2^18 to a MiB
        target = torch.empty_like(source)
        copied = seconds(lambda: target.copy_(source))
    return Roofline(
        device=device_name(device),
        threads=torch.get_num_threads(),
        product=product,
        convolution=convolution,
        copy_gb_per_s=2 * source.nbytes / copied / 1e9,
    )


def _noise(*shape: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Random numbers, as zeros would be multiplied faster, from a generator of their own."""
    generator = torch.Generator(device).manual_seed(0)
    noise = torch.randn(*shape, generator=generator, device=device).to(dtype)
    return noise.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else noise
