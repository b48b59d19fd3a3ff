"""What one core can do at most: products of the sizes that a training step holds.

    python benchmarks/ceiling.py [--repeats 9]

GFLOP/s of a large product and of a projector's (256 x 2048 by 2048 x 2048), in float32 and, where
the processor computes it natively, in bfloat16. A step's share of these is its distance from what
is possible on the machine.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch

from harness import interleave, spread, write_result
from medstrata.devices import has_native_bf16

SHAPES = {"large": (4096, 4096, 4096), "projector": (256, 2048, 2048)}


def product(shape: tuple[int, int, int], dtype: torch.dtype) -> Callable[[], object]:
    rows, inner, columns = shape
    first, second = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    return partial(torch.mm, first, second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if has_native_bf16() else {})
    cases = {
        f"{name}, {kind}": (shape, dtype)
        for name, shape in SHAPES.items()
        for kind, dtype in kinds.items()
    }
    tasks = {name: product(shape, dtype) for name, (shape, dtype) in cases.items()}
    rates = {
        name: spread([2 * math.prod(cases[name][0]) / seconds / 1e9 for seconds in runs])
        for name, runs in interleave(tasks, arguments.repeats).items()
    }
    for name, rate in rates.items():
        print(f"{name:<22}{rate['median']:8.0f} GFLOP/s")
    print(write_result("ceiling", {"GFLOP_per_s": rates}))


if __name__ == "__main__":
    main()
