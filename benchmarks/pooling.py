"""Global average pooling of stage maps in channels-last memory: three ways, forward and backward.

python benchmarks/pooling.py
"""

from collections.abc import Callable

import torch
from torch import Tensor

from harness import interleave, spread, write_result
from medstrata.devices import has_native_bf16
from medstrata.losses import global_average_pool

SHAPES = ((128, 64, 16, 16), (128, 512, 2, 2), (32, 256, 56, 56), (32, 2048, 7, 7))
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean over (2, 3)": lambda maps: maps.mean((2, 3)),
    "adaptive_avg_pool2d": lambda maps: torch.nn.functional.adaptive_avg_pool2d(maps, 1),
    "global_average_pool": global_average_pool,
}


def main() -> None:
    dtype = torch.bfloat16 if has_native_bf16() else torch.float32
    results = {}
    for shape in SHAPES:
        maps = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)
        maps.requires_grad_()

        def task(way: Callable[[Tensor], Tensor], maps: Tensor = maps) -> Callable[[], object]:
            return lambda: way(maps).sum().backward()

        seconds = interleave({name: task(way) for name, way in WAYS.items()}, repeats=15)
        middle = {name: spread(values)["median"] for name, values in seconds.items()}
        results[str(shape)] = middle
        print(shape, {name: f"{1e3 * value:.2f} ms" for name, value in middle.items()})
    print(write_result("pooling", {"dtype": str(dtype), "median_seconds": results}))


if __name__ == "__main__":
    main()
