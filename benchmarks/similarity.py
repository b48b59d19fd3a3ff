"""Centred kernel alignment without N x N matrices against other ways to compute it.

    python benchmarks/similarity.py [--quick] [--large] [--repeats 2]

Values of two related sets of float32 features of 2,048 dimensions, one thread, processor time, in
turns. Ours is debiased, and so is "whole kernels": NumPy in float64 with every saving that whole
kernels allow. The others are biased, for which debiasing would cost no less: "centred with H K H"
is the definition, in float64; "as published" is what the notebook of Kornblith et al. 2019
(arXiv:1905.00414) computes, kernels in the features' own float32 from which means are taken, and
for linear CKA its other form, which needs no kernels. Memory is that of a process of its own,
beyond imports and features. With 10,000 samples H K H takes minutes and GiBs a run: `--large` alone
measures these, about 20 minutes at two turns of each kernel.
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

from harness import (
    RESULTS,
    Section,
    Target,
    held_memory,
    read_result,
    spread,
    write_result,
)
from medstrata.metrics.cka import linear_cka, rbf_cka
from wording import number, paragraphs, ratio, table

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
DIMENSIONS = 2048
SIZES = (4000, 10_000)
LARGE = SIZES[-1]
OURS, WHOLE = "medstrata", "NumPy, whole kernels, float64"
NAIVE, PUBLISHED = "NumPy, centred with H K H, float64", "NumPy, as published, float32"
NO_KERNELS = "NumPy, as published without kernels, float32"


def features(samples: int) -> tuple[Features, Features]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((samples, DIMENSIONS), dtype=np.float32)
    return x, x + generator.standard_normal((samples, DIMENSIONS), dtype=np.float32)


def linear_kernel(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(x @ x.T)


def rbf_kernel(x: NDArray[Any]) -> NDArray[Any]:
    gram = linear_kernel(x)
    lengths = gram.diagonal()
    squares = lengths[:, None] + lengths - 2 * gram
    median = np.median(squares[np.tril_indices(len(x), -1)])
    return np.exp(-squares / (2 * 0.64 * median))


def naive(k: Floats, m: Floats) -> float:
    h = np.eye(len(k)) - 1 / len(k)
    k, m = h @ k @ h, h @ m @ h
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def published(k: NDArray[Any], m: NDArray[Any]) -> float:
    for one in (k, m):
        means = one.mean(0)
        one -= means[:, None]
        one -= means - means.mean()
    return float(np.vdot(k, m) / (np.linalg.norm(k) * np.linalg.norm(m)))


def without_kernels(x: Features, y: Features) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    sizes = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / sizes)


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

    def wide(one: Features) -> Floats:
        return kernel(one.astype(np.float64))

    found = {
        OURS: lambda: cka(x, y, debiased=True),
        WHOLE: lambda: whole(wide(x), wide(y)),
        NAIVE: lambda: naive(wide(x), wide(y)),
        PUBLISHED: lambda: published(kernel(x), kernel(y)),
    }
    return found | ({NO_KERNELS: lambda: without_kernels(x, y)} if kind == "linear" else {})


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


def in_turns_cold(tasks: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds, in turns; H K H, which takes minutes, is not warmed up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats):
        for name in list(tasks)[:: 1 if turn % 2 == 0 else -1]:
            started = time.process_time()
            tasks[name]()
            seconds[name].append(time.process_time() - started)
    return seconds


def measure(kind: str, samples: int, repeats: int) -> dict[str, Any]:
    x, y = features(samples)
    tasks = programs(kind, x, y)
    exact, ours = tasks[WHOLE](), tasks[OURS]()
    assert abs(exact - ours) < 1e-5, f"{kind}: {exact} against {ours}"
    biased = {"linear": linear_cka, "rbf": rbf_cka}[kind](x, y, debiased=False)
    seconds = in_turns_cold(tasks, repeats)
    return {
        "samples": samples,
        "difference": abs(exact - ours),
        "published_difference": abs(tasks[PUBLISHED]() - biased),
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


def show(kind: str, found: dict[str, Any]) -> None:
    for name, row in found["rows"].items():
        ratio = row["ratio"]
        print(
            f"{kind:8}{found['samples']:6} {name:44}{row['s']['median']:8.2f} s"
            f"{ratio['median']:7.1f} x ({ratio['lowest']:.1f} to {ratio['highest']:.1f})"
            f"{row['peak_gib']:8.2f} GiB",
            flush=True,
        )
    print(f"{kind:8} differs by {found['difference']:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Centred kernel alignment.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    parser.add_argument("--large", action="store_true", help="measure the largest size alone")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs of each, 2 or more")
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory:
        kind, name, samples = arguments.memory
        print_memory(kind, name, int(samples))
        return
    wanted = (LARGE,) if arguments.large else SIZES
    cases: list[dict[str, Any]] = []
    if arguments.large and (RESULTS / "similarity.json").is_file():
        cases = [one for one in read_result("similarity")["cases"] if one["samples"] != LARGE]
    for samples in (800,) if arguments.quick else wanted:
        for kind in ("linear", "rbf"):
            found = measure(kind, samples, arguments.repeats)
            show(kind, found)
            cases.append({"kind": kind, **found})
    if arguments.quick:
        return
    about = {"dimensions": DIMENSIONS, "clock": "processor time, one thread", "cases": cases}
    print(f"\nwritten to {write_result('similarity', about)}")


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("similarity")
    cases = {(one["kind"], one["samples"]): one for one in found["cases"]}
    sizes = sorted({samples for _, samples in cases})
    rows = []
    for samples in sizes:
        for name in (OURS, WHOLE, NAIVE, PUBLISHED, NO_KERNELS):
            cells = [f"{samples:,}", name]
            for kind in ("linear", "rbf"):
                row = cases[kind, samples]["rows"].get(name)
                if row is None:
                    cells += ["-", "-", "-"]
                    continue
                times = "" if name == OURS else ratio(row["ratio"], 1)
                cells += [f"{number(row['s']['median'])} s", times, f"{row['peak_gib']:.2f}"]
            rows.append(cells)
    apart = {
        kind: max(one["difference"] for one in found["cases"] if one["kind"] == kind)
        for kind in ("linear", "rbf")
    }
    rounding = max(one["published_difference"] for one in found["cases"])
    head = (
        f"`python benchmarks/similarity.py`: CKA of two sets of {found['dimensions']:,} float32 "
        "features, one thread, processor time, in turns. Memory is beyond imports and features. "
        "Ours and whole kernels are debiased, the others biased. H K H is the definition, with N^3 "
        "operations. As published: what the notebook of Kornblith et al. 2019 computes, in the "
        "features' own float32; its form without kernels is for linear CKA alone and has no "
        "debiased value."
    )
    shown = table(
        ["samples", "", "linear", "ratio", "GiB", "RBF", "ratio", "GiB"], rows, "rlrrrrrr"
    )
    tail = (
        f"The values differ from the float64 ones by {apart['linear']:.0e} (linear) and "
        f"{apart['rbf']:.0e} (RBF) at the most. Our memory grows with the samples, as the centred "
        "copies of the features do. Kernels in float32 as published are off by up to "
        f"{rounding:.0e}. With fewer samples than dimensions there is little to gain."
    )
    text = paragraphs(head, shown, tail)
    few = "measured with so few samples that the N^3 part of H K H is not yet all"
    largest = sizes[-1]
    targets = [
        Target(
            f"{words} CKA, {largest:,} x {found['dimensions']:,}: time({NAIVE}) / time(ours)",
            wanted,
            cases[kind, largest]["rows"][NAIVE]["ratio"]["median"],
            "x",
            why=few if largest < LARGE else "",
        )
        for words, kind, wanted in (("linear", "linear", 20), ("RBF", "rbf", 10))
    ]
    return Section("Similarity of features (CKA)", text, targets)


if __name__ == "__main__":
    main()
