"""A vote of nearest neighbours at 10,000 x 10,000 x 2,048 against the ways it is written elsewhere.

    python benchmarks/knn.py [--quick]

Bank and queries are made-up positive features of 512 directions and noise, as a network's pooled
ones are; 10 classes, 20 neighbours. Everything runs in turns in one thread, in processor time.
Programs that hold the whole product take blocks of 1,000 queries here, as ours does of its own.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from harness import Section, Target, find_result, interleave, read_result, spread, write_result
from medstrata.metrics.knn import NEIGHBOURS, TEMPERATURE, neighbour_probabilities
from medstrata.runtime.devices import processor_has_native_bf16
from wording import number, paragraphs, processor, ratio, table

IMAGES, DIMENSIONS, CLASSES, BLOCK = 10_000, 2048, 10, 1000
OURS = "medstrata"
SORT, PART = "NumPy, whole product, argsort", "NumPy, whole product, argpartition"
LIGHTLY, SCIKIT = "lightly, knn_predict", "scikit-learn, brute force, cosine"
PRODUCT = "the float32 product alone"
TOLERANCE = 1e-4  # of a probability: a cosine's last digits, divided by the temperature
TIE = 1e-6  # cosines nearer than this may change places with the order of a float32 sum
# Whether bfloat16 is native -> result file: the two kinds of processor compute differently.
RECORDS = {True: "knn", False: "knn-float32"}
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


def voted(cosine: Features, labels: NDArray[np.int64]) -> Features:
    weights = np.exp((cosine - cosine.max(1, keepdims=True)) / TEMPERATURE)
    votes = (weights[:, :, None] * np.eye(CLASSES, dtype=np.float32)[labels]).sum(1)
    return np.asarray(votes / votes.sum(1, keepdims=True))


def numpy_vote(
    choose: Callable[[Features], NDArray[np.int64]],
    bank: Features,
    labels: NDArray[np.int64],
    queries: Features,
) -> Features:
    parts = []
    for start in range(0, len(queries), BLOCK):
        cosine = queries[start : start + BLOCK] @ bank.T
        places = choose(cosine)
        parts.append(voted(np.take_along_axis(cosine, places, 1), labels[places]))
    return np.concatenate(parts)


def by_sorting(cosine: Features) -> NDArray[np.int64]:
    return np.argsort(-cosine, axis=1)[:, :NEIGHBOURS]


def by_partition(cosine: Features) -> NDArray[np.int64]:
    return np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def ties(bank: Features, queries: Features) -> NDArray[np.bool_]:
    """Queries whose last voter and the next image are as near as float32 can tell."""
    wide, found = bank.astype(np.float64), []
    for start in range(0, len(queries), BLOCK):
        cosine = queries[start : start + BLOCK].astype(np.float64) @ wide.T
        top = -np.partition(-cosine, (NEIGHBOURS - 1, NEIGHBOURS), axis=1)
        found.append(top[:, NEIGHBOURS - 1] - top[:, NEIGHBOURS] < TIE)
    return np.concatenate(found)


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
        SORT: partial(numpy_vote, by_sorting, bank, labels, queries),
        PART: partial(numpy_vote, by_partition, bank, labels, queries),
        LIGHTLY: lightly,
        SCIKIT: scikit,
        PRODUCT: lambda: [one @ tensors.T for one in asked.split(BLOCK)],
    }


def measure(images: int, repeats: int) -> dict[str, Any]:
    bank, queries = features(images)
    labels = np.random.default_rng(1).integers(CLASSES, size=images)
    tasks = programs(bank, labels, queries)
    ours = tasks[OURS]()
    tied = ties(bank, queries)
    differences = {}
    for name in (SORT, PART, SCIKIT):
        apart = np.abs(ours - tasks[name]()).max(1)
        differences[name] = float(apart[~tied].max())
    assert max(differences.values()) < TOLERANCE, differences
    first = tasks[LIGHTLY]()[:, 0].numpy()  # lightly gives the classes in order, not the scores
    chosen = ours[np.arange(len(ours)), first]
    assert (ours.max(1) - chosen)[~tied].max() < TOLERANCE
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        "images": images,
        "differences": differences,
        "tied": int(tied.sum()),
        "bfloat16": processor_has_native_bf16(),
        "rows": {
            name: {
                "s": spread(runs),
                "ratio": spread([a / b for a, b in zip(runs, seconds[OURS], strict=True)]),
            }
            for name, runs in seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A vote of nearest neighbours.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    result = measure(2000 if quick else IMAGES, 2 if quick else 5)
    for name, row in result["rows"].items():
        ratio = row["ratio"]
        ends = f"({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
        print(f"{name:40}{row['s']['median']:8.2f} s{ratio['median']:7.2f} x {ends}")
    print(f"largest difference of a probability: {max(result['differences'].values()):.1e}")
    if not quick:
        about = {"dimensions": DIMENSIONS, "classes": CLASSES, "neighbours": NEIGHBOURS}
        print(f"\nwritten to {write_result(RECORDS[result['bfloat16']], about | result)}")


def section() -> Section:
    """Of docs/performance.md, from the result file of each kind of processor."""
    found = [result for name in RECORDS.values() if (result := find_result(name))]
    first = found[0] if found else read_result(RECORDS[True])
    head = (
        f"`python benchmarks/knn.py`: {first['images']:,} queries vote among {first['images']:,} "
        f"images by {NEIGHBOURS} neighbours, {DIMENSIONS:,} features, one thread, processor time, "
        "in turns."
    )
    how = (
        "Where the processor multiplies bfloat16 natively, bfloat16 products choose candidates and "
        "float32 ranks them. The rounding error is bounded for each query (`neighbours._screened`)."
        " A query whose candidates end within the bound is searched in float32, and where more "
        "than half of a block ends so, all that follow are. Elsewhere, and below "
        f"{256 * NEIGHBOURS:,} images, all is float32."
    )
    most = max(value for result in found for value in result["differences"].values())
    equal = (
        "So the neighbours are those of float32. Probabilities differ from the peers' by "
        f"{most:.0e} at the most, but for {first['tied']} queries whose last voter and the next "
        f"image are within {TIE:g} of each other, where every program chooses by rounding."
    )
    tables = [part for result in found for part in (f"### {_named(result)}", _times(result))]
    targets = [target for result in found for target in _targets(result)]
    return Section("Nearest neighbours", paragraphs(head, how, equal, *tables), targets)


def _named(result: dict[str, Any]) -> str:
    return "With bfloat16" if result["bfloat16"] else "Without bfloat16"


def _times(result: dict[str, Any]) -> str:
    return table(
        ["", "time", "time / time(ours)"],
        [
            [name, f"{number(row['s']['median'])} s", "" if name == OURS else ratio(row["ratio"])]
            for name, row in result["rows"].items()
        ],
    )


def _targets(result: dict[str, Any]) -> list[Target]:
    rows, native = result["rows"], result["bfloat16"]
    floor = rows[PRODUCT]["ratio"]["median"]
    product = f"the float32 product alone takes {floor:.2f} times as long as all of ours"
    why = (
        "most of ours is the bfloat16 product, which is about twice as fast as a float32 product "
        f"on this core; {product}"
        if native
        else f"every program needs that product in float32 here, and {product}"
    )
    return [
        Target(
            f"k-NN vote, {_named(result).lower()}: time({name}) / time(ours)",
            2.5,
            middle,
            "x",
            why="" if middle >= 2.5 else why,
            on=processor(result["environment"]),
        )
        for name in (SORT, PART, LIGHTLY, SCIKIT)
        for middle in [rows[name]["ratio"]["median"]]
    ]


if __name__ == "__main__":
    main()
