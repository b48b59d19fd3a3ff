"""Global average pooling of stage maps in channels-last memory: three ways, forward and backward.

python benchmarks/pooling.py [--quick]
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from harness import Section, cpu_precision, interleave, read_result, spread, write_result
from medstrata.losses import global_average_pool
from wording import number, paragraphs, table

SHAPES = ((128, 64, 16, 16), (128, 512, 2, 2), (32, 256, 56, 56), (32, 2048, 7, 7))
WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean over (2, 3)": lambda maps: maps.mean((2, 3)),
    "adaptive_avg_pool2d": lambda maps: torch.nn.functional.adaptive_avg_pool2d(maps, 1),
    "global_average_pool": global_average_pool,
}


def section() -> Section:
    """Milliseconds of each way."""
    result = read_result("pooling")
    rows = [
        [shape, *(number(1e3 * seconds[way]) for way in WAYS)]
        for shape, seconds in result["median_seconds"].items()
    ]
    words = (
        "`python benchmarks/pooling.py`: global average of channels-last maps (B, C, H, W), "
        f"forward and backward, in {result['dtype'].removeprefix('torch.')}, one thread, median "
        "milliseconds. `losses.global_average_pool` is one batched product with a row of ones; it "
        "is meant for the large maps, where pooling costs something."
    )
    shown = table(["maps", *(f"{way}, ms" for way in WAYS)], rows)
    return Section("Pooling the taps", paragraphs(words, shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest maps, no file")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if cpu_precision() == "bf16" else torch.float32
    results = {}
    for shape in SHAPES[1:2] if quick else SHAPES:
        maps = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last)
        maps.requires_grad_()

        def task(way: Callable[[Tensor], Tensor], maps: Tensor = maps) -> Callable[[], object]:
            return lambda: way(maps).sum().backward()

        seconds = interleave({name: task(way) for name, way in WAYS.items()}, repeats=15)
        middle = {name: spread(values)["median"] for name, values in seconds.items()}
        results[str(shape)] = middle
        print(shape, {name: f"{1e3 * value:.2f} ms" for name, value in middle.items()})
    if quick:
        return
    print(write_result("pooling", {"dtype": str(dtype), "median_seconds": results}))


if __name__ == "__main__":
    main()
