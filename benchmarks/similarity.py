"""Centred kernel alignment without N x N matrices against whole kernels in NumPy.

    python benchmarks/similarity.py [--quick]

Debiased values of two related sets of float32 features of 2,048 dimensions, one thread, processor
time, in turns. The peers hold whole kernels in float64: "as published" centres with H K H, as the
code that goes round with Kornblith et al. 2019 does, and takes the biased form (a debiased one
costs no less); "whole kernels" is the debiased form with every saving that whole kernels allow.
Memory is that of a process of its own, beyond imports and features.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import held_memory, interleave, spread, write_result
from medstrata.similarity import linear_cka, rbf_cka

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
DIMENSIONS = 2048
OURS, WHOLE, PUBLISHED = "medstrata", "NumPy, whole kernels", "NumPy, as published"


def features(samples: int) -> tuple[Features, Features]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((samples, DIMENSIONS), dtype=np.float32)
    return x, x + generator.standard_normal((samples, DIMENSIONS), dtype=np.float32)


def linear_kernel(x: Features) -> Floats:
    wide = x.astype(np.float64)
    return np.asarray(wide @ wide.T)


def rbf_kernel(x: Features) -> Floats:
    gram = linear_kernel(x)
    lengths = gram.diagonal()
    squares = lengths[:, None] + lengths - 2 * gram
    median = np.median(squares[np.tril_indices(len(x), -1)])
    return np.exp(-squares / (2 * 0.64 * median))


def published(k: Floats, m: Floats) -> float:
    h = np.eye(len(k)) - 1 / len(k)
    k, m = h @ k @ h, h @ m @ h
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def whole(k: Floats, m: Floats) -> float:
    n = len(k)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)

    def hsic(one: Floats, other: Floats) -> float:
        rows, others = one.sum(0), other.sum(0)
        both = rows.sum() * others.sum() / ((n - 1) * (n - 2))
        return float(np.vdot(one, other) + both - 2 / (n - 2) * rows @ others)

    return hsic(k, m) / float(np.sqrt(hsic(k, k) * hsic(m, m)))


def programs(kind: str, x: Features, y: Features) -> dict[str, Callable[[], float]]:
    kernel = {"linear": linear_kernel, "rbf": rbf_kernel}[kind]
    cka = {"linear": linear_cka, "rbf": rbf_cka}[kind]
    return {
        OURS: lambda: cka(x, y, debiased=True),
        WHOLE: lambda: whole(kernel(x), kernel(y)),
        PUBLISHED: lambda: published(kernel(x), kernel(y)),
    }


def memory(kind: str, name: str, samples: int) -> float:
    """GiB beyond imports and features at the peak, in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--memory", kind, name, str(samples)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(ran.stdout)


def print_memory(kind: str, name: str, samples: int) -> None:
    small = features(600)
    programs(kind, *small)[name]()
    run = programs(kind, *features(samples))[name]
    before = held_memory("VmRSS")
    run()
    print(held_memory("VmHWM") - before)


def measure(kind: str, samples: int, repeats: int) -> dict[str, Any]:
    x, y = features(samples)
    tasks = programs(kind, x, y)
    exact, ours = tasks[WHOLE](), tasks[OURS]()
    assert abs(exact - ours) < 1e-5, f"{kind}: {exact} against {ours}"
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        "samples": samples,
        "difference": abs(exact - ours),
        "rows": {
            name: {
                "s": spread(runs),
                # How many times as long as ours, turn by turn.
                "ratio": spread([a / b for a, b in zip(runs, seconds[OURS], strict=True)]),
                "peak_gib": memory(kind, name, samples),
            }
            for name, runs in seconds.items()
        },
    }


def alone(kind: str, samples: int, repeats: int) -> dict[str, Any]:
    task = programs(kind, *features(samples))[OURS]
    seconds = interleave({OURS: task}, repeats, clock=time.process_time)[OURS]
    return {"samples": samples, "s": spread(seconds), "peak_gib": memory(kind, OURS, samples)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Centred kernel alignment.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        kind, name, samples = arguments.memory
        print_memory(kind, name, int(samples))
        return
    samples, large = (800, 1600) if arguments.quick else (4000, 10_000)
    found: dict[str, Any] = {}
    for kind in ("linear", "rbf"):
        found[kind] = measure(kind, samples, repeats=2)
        found[f"{kind}_alone"] = alone(kind, large, repeats=2)
        for name, row in found[kind]["rows"].items():
            print(
                f"{kind:8}{samples:6} {name:24}{row['s']['median']:8.2f} s"
                f"{row['ratio']['median']:7.1f} x ({row['ratio']['lowest']:.1f} to "
                f"{row['ratio']['highest']:.1f}){row['peak_gib']:8.2f} GiB"
            )
        print(f"{kind:8}{large:6} {OURS:24}{found[f'{kind}_alone']['s']['median']:8.2f} s", end="")
        print(f"{found[f'{kind}_alone']['peak_gib']:8.2f} GiB")
        print(f"{kind:8} differs by {found[kind]['difference']:.1e}")
    if arguments.quick:
        return
    about = {"dimensions": DIMENSIONS, "clock": "processor time, one thread"}
    print(f"\nwritten to {write_result('similarity', about | found)}")


if __name__ == "__main__":
    main()
