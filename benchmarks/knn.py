"""A vote of nearest neighbours at 10,000 x 10,000 x 2,048 against the ways it is written elsewhere.

    python benchmarks/knn.py [--quick]

Bank and queries are made-up positive features of 512 directions and noise, as a network's pooled
ones are; 10 classes, 20 neighbours. Everything runs in turns in one thread, in processor time.
Programs that hold the whole product take blocks of 1,000 queries here, as ours does of its own.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from harness import (
    Result,
    cpu_precision,
    interleave,
    measure_and_keep,
    spread,
    spread_of_ratio,
)
from medstrata.metrics.defaults import NEIGHBOURS, TEMPERATURE
from medstrata.metrics.knn import neighbour_probabilities
from section import Section, Target, number, paragraphs, processor, ratio, table

IMAGES, DIMENSIONS, CLASSES, BLOCK = 10_000, 2048, 10, 1000
OURS = "medstrata"
NUMPY = "NumPy, whole product, argpartition"
LIGHTLY, SCIKIT = "lightly, knn_predict", "scikit-learn, brute force, cosine"
PRODUCT = "the float32 product alone"
# Precision -> result file: the two kinds of processor compute differently.
RECORDS = {"bf16": "knn", "no": "knn-float32"}
Features = NDArray[np.float32]


def features(images: int) -> tuple[Features, Features]:
    """Bank and queries, of length 1."""
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((512, DIMENSIONS), dtype=np.float32)
    directions *= np.geomspace(1, 0.03, 512, dtype=np.float32)[:, None] / 8
    parts = generator.standard_normal((2 * images, 512), dtype=np.float32) @ directions
    parts += 0.3 * generator.standard_normal(parts.shape, dtype=np.float32) + 0.3
    parts = np.maximum(parts, 0, out=parts)
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    return parts[:images], parts[images:]


def numpy_vote(bank: Features, labels: NDArray[np.int64], queries: Features) -> Features:
    """As one would write it: the whole product of a block, then the nearest by partition."""
    one_hot, parts = np.eye(CLASSES, dtype=np.float32), []
    for start in range(0, len(queries), BLOCK):
        cosine = queries[start : start + BLOCK] @ bank.T
        nearest = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weights = np.exp((np.take_along_axis(cosine, nearest, 1) - 1) / TEMPERATURE)
        votes = (weights[:, :, None] * one_hot[labels[nearest]]).sum(1)
        parts.append(votes / votes.sum(1, keepdims=True))
    return np.concatenate(parts)


def programs(
    bank: Features, labels: NDArray[np.int64], queries: Features
) -> dict[str, Callable[[], Any]]:
    from lightly.utils.benchmarking.knn import knn_predict
    from sklearn.neighbors import KNeighborsClassifier

    tensors, classes = torch.from_numpy(bank), torch.from_numpy(labels)
    one_hot, asked = torch.eye(CLASSES)[classes], torch.from_numpy(queries)

    def lightly() -> torch.Tensor:
        whole = normalize(tensors, dim=1).T
        blocks = normalize(asked, dim=1).split(BLOCK)
        return torch.cat(
            [knn_predict(one, whole, classes, CLASSES, NEIGHBOURS, TEMPERATURE) for one in blocks]
        )

    def scikit() -> Features:
        peer = KNeighborsClassifier(
            NEIGHBOURS,
            algorithm="brute",
            metric="cosine",
            weights=lambda distance: np.exp(-distance / TEMPERATURE),
        )
        return np.asarray(peer.fit(bank, labels).predict_proba(queries))

    return {
        OURS: lambda: neighbour_probabilities(tensors, one_hot, asked).numpy(),
        NUMPY: lambda: numpy_vote(bank, labels, queries),
        LIGHTLY: lightly,
        SCIKIT: scikit,
        PRODUCT: lambda: [one @ tensors.T for one in asked.split(BLOCK)],
    }


def measure(quick: bool) -> Result:
    images, repeats = (2000, 2) if quick else (IMAGES, 5)
    bank, queries = features(images)
    labels = np.random.default_rng(1).integers(CLASSES, size=images)
    tasks = programs(bank, labels, queries)
    same = tasks[OURS]().argmax(1) == tasks[NUMPY]().argmax(1)
    assert same.mean() > 0.99, "the votes differ by more than ties and rounding"
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        "images": images,
        "bfloat16": cpu_precision() == "bf16",
        "rows": {
            name: {"s": spread(runs), "ratio": spread_of_ratio(runs, seconds[OURS])}
            for name, runs in seconds.items()
        },
    }


def section(results: list[Result]) -> Section:
    """Times on each kind of processor."""
    first = results[0]
    head = (
        f"`python benchmarks/knn.py`: {first['images']:,} queries vote among {first['images']:,} "
        f"images by {NEIGHBOURS} neighbours, {DIMENSIONS:,} features, one thread, processor time, "
        "in turns."
    )
    how = (
        "Where the processor multiplies bfloat16 natively, bfloat16 products choose candidates and "
        "float32 ranks them. The rounding error is bounded for each query; one whose candidates "
        "end within the bound is searched in float32, and where more than half of a block is, "
        f"all that follow are. Elsewhere, and below {256 * NEIGHBOURS:,} images, all is float32. "
        "So the neighbours are those of float32, which the tests check."
    )
    tables = [part for result in results for part in (f"### {_named(result)}", _times(result))]
    targets = [target for result in results for target in _targets(result)]
    return Section("Nearest neighbours", paragraphs(head, how, *tables), targets)


def _named(result: Result) -> str:
    return "With bfloat16" if result["bfloat16"] else "Without bfloat16"


def _times(result: Result) -> str:
    return table(
        ["", "time", "time / time(ours)"],
        [
            [name, f"{number(row['s']['median'])} s", "" if name == OURS else ratio(row["ratio"])]
            for name, row in result["rows"].items()
        ],
    )


def _targets(result: Result) -> list[Target]:
    rows, native = result["rows"], result["bfloat16"]
    floor = rows[PRODUCT]["ratio"]["median"]
    product = f"the float32 product alone takes {floor:.2f} times as long as all of ours"
    why = (
        "most of ours is the bfloat16 product, which is about twice as fast as a float32 product "
        f"on this core; {product}"
        if native
        else f"every program needs that product in float32 here, and {product}"
    )
    on = processor(result["environment"])
    targets = []
    for name in (NUMPY, LIGHTLY, SCIKIT):
        what = f"k-NN vote, {_named(result).lower()}: time({name}) / time(ours)"
        middle = rows[name]["ratio"]["median"]
        targets.append(Target(what, 2.5, middle, "x", on, why=why))
    return targets


def main() -> None:
    measure_and_keep(RECORDS[cpu_precision()], __doc__, measure, section)


if __name__ == "__main__":
    main()
