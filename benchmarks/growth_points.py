"""What the growth benchmark measures: each function makes its input and returns the work on it.

Everything is made up from a seed. A point gives the size of its work (rows, images, cells) and the
work as a function; `growth.py` calls it in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

Point = tuple[float, Callable[[], object]]  # how much work it is, and the work


class Series(NamedTuple):
    """One quantity that grows, everything else held."""

    title: str
    axis: str  # what grows, with its unit
    sizes: tuple[int, ...]
    make: Callable[[int, Path], Point]
    time: float  # the exponent that the work itself has
    memory: float


def _step(size: int, batch: int, queue: int, folder: Path) -> Point:
    import torch
    from accelerate import Accelerator

    from harness import cpu_precision
    from medstrata.assembly import build
    from medstrata.data.prepare import prepare
    from medstrata.data.synthetic import make_images
    from medstrata.devices import keep_freed_memory
    from medstrata.pretraining import training_step
    from medstrata.recipes import recipe

    torch.set_num_threads(1)
    images = make_images(folder / "images", images=300, size=64).parent
    store = prepare(images, folder / "store", size=64)
    settings = recipe(
        "fair/moco",
        backbone="resnet18",
        batch_size=batch,
        images="all",
        in_channels=3,
        contrastive={"queue_size": queue, "cap_queue": False},
        views={"size": size},
    )
    keep_freed_memory()
    accelerator = Accelerator(cpu=True, mixed_precision=cpu_precision())
    training = build(accelerator, settings, store, folder / "run")
    views = next(training.loader.epoch(0))
    training.wrapped.train()
    return batch, lambda: training_step(training, views)


def step_batch(batch: int, folder: Path) -> Point:
    return batch, _step(64, batch, 4096, folder)[1]


def step_pixels(size: int, folder: Path) -> Point:
    return size, _step(size, 32, 4096, folder)[1]


def step_queue(queue: int, folder: Path) -> Point:
    return queue, _step(32, 32, queue, folder)[1]


def preparing(images: int, folder: Path) -> Point:
    from medstrata.data.prepare import prepare
    from medstrata.data.synthetic import make_images

    labels = make_images(folder / "images", images=images, size=64)

    def run() -> None:
        shutil.rmtree(folder / "store", ignore_errors=True)
        prepare(labels.parent, folder / "store", labels=labels, size=64, workers=1)

    return images, run


def tiff_pages(pages: int, folder: Path) -> Point:
    import tifffile

    from medstrata.data.formats.readers import AS_IT_COMES, count_images, read_images

    path = folder / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (pages, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack")

    def run() -> None:
        assert count_images(path, "axial") == pages
        for _ in read_images(path, range(pages), AS_IT_COMES):
            pass

    return pages, run


def auditing(images: int, folder: Path) -> Point:
    from audit import made_up, noise
    from medstrata.data.auditing.duplicates import find_duplicates

    del folder
    manifest, content, _ = made_up("alike", images)
    pixels = noise()

    def read(row: int) -> np.ndarray:
        top, left = divmod(int(content[row]) * 7919 % 2**20, 1024)
        return pixels[top : top + 128, left : left + 128, None]

    return images, lambda: find_duplicates(manifest, read)


def starting(images: int, folder: Path) -> Point:
    import torch

    from medstrata.data.store import open_store
    from medstrata.loader import Loader
    from medstrata.view_settings import moco_v2
    from scale import write_store

    write_store(folder / "made.store", images, size=8, shard_rows=65_536)

    def run() -> None:
        store = open_store(folder / "made.store")
        loader = Loader(
            store=store,
            rows=store.rows("train"),
            settings=moco_v2(0),
            batch_size=256,
            views=2,
            seed=0,
            device=torch.device("cpu"),
        )
        next(batches := loader.epoch(0))
        batches.close()

    return images, run


def _features(rows: int, dimensions: int = 512) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, dimensions), dtype=np.float32)


def neighbours(images: int, folder: Path) -> Point:
    import torch

    from medstrata.neighbours import knn_probabilities

    del folder
    torch.set_num_threads(1)
    features, labels = _features(images), np.arange(images) % 10
    return images, lambda: knn_probabilities(features, labels, features, "multiclass", 10)


def _cka(kind: str, rows: int) -> Point:
    import torch

    from medstrata import similarity

    torch.set_num_threads(1)
    measure = {"linear": similarity.linear_cka, "rbf": similarity.rbf_cka}[kind]
    x = _features(rows)
    y = x + _features(rows)[::-1]
    return rows, lambda: measure(x, y, debiased=True)


def linear(rows: int, folder: Path) -> Point:
    del folder
    return _cka("linear", rows)


def rbf(rows: int, folder: Path) -> Point:
    del folder
    return _cka("rbf", rows)


def _interval(images: int, resamples: int) -> Callable[[], object]:
    from medstrata.metrics import bootstrap_interval

    generator = np.random.default_rng(0)
    target = (generator.random((images, 5)) < 0.1).astype(np.float32)
    score = np.round(1 / (1 + np.exp(-generator.normal(size=target.shape) - target)), 3)
    patients = np.arange(images) // 9
    return lambda: bootstrap_interval(
        "macro_auroc", target, score, "multilabel", patients, resamples=resamples, seed=0
    )


def bootstrap_images(images: int, folder: Path) -> Point:
    del folder
    return images, _interval(images, 200)


def bootstrap_resamples(resamples: int, folder: Path) -> Point:
    del folder
    return resamples, _interval(10_000, resamples)


def study(seeds: int, folder: Path) -> Point:
    """Planning, the ledger of a finished study, and its dry run; no training."""
    from medstrata.studies.estimate import describe
    from medstrata.studies.ledger import Ledger
    from medstrata.studies.plan import plan
    from medstrata.studies.settings import as_study

    written = {
        "backbone": "resnet18",
        "data": {"made": {"prepare": {"source": "images", "size": 64}, "task": "finding"}},
        "arms": {name: {"encoder": "scratch"} for name in ("one", "two", "three")},
        "fractions": [0.01, 0.1, 1.0],
        "seeds": seeds,
        "probe": None,
        "reuse": None,
        "atlas": None,
    }
    settings = as_study(written)
    out = folder / "study"
    ledger, cells = Ledger(out), plan(settings)
    for cell in cells:
        (out / cell.folder).mkdir(parents=True)
        (out / cell.folder / "result.json").write_text('{"seconds": 1.0}')
        ledger.finish(cell)

    def run() -> None:
        assert not ledger.changed(plan(settings))
        assert describe(settings, out, folder, jobs=1).count("finished") == len(cells)

    return len(cells), run


SERIES: dict[str, Series] = {
    "step, batch": Series("training step", "images a batch", (32, 64, 128, 256), step_batch, 1, 1),
    "step, pixels": Series(
        "training step", "side of a view, pixels", (32, 64, 128, 224), step_pixels, 2, 2
    ),
    "step, queue": Series(
        "training step", "keys in the queue", (4096, 16_384, 65_536, 262_144), step_queue, 1, 1
    ),
    "prepare": Series("prepare with audit", "images", (500, 2000, 8000), preparing, 1, 1),
    "pages": Series("reading one TIFF", "pages", (300, 1000, 3000), tiff_pages, 1, 1),
    "start": Series(
        "open a store, first batch", "images", (10_000, 100_000, 1_000_000), starting, 1, 1
    ),
    "audit": Series("search for copies", "images", (10_000, 30_000, 100_000), auditing, 1, 1),
    "neighbours": Series(
        "k-NN vote of all", "images", (2500, 5000, 10_000, 20_000), neighbours, 2, 1
    ),
    "linear CKA": Series("linear CKA", "images", (2500, 5000, 10_000, 20_000), linear, 1, 1),
    "RBF CKA": Series("RBF CKA", "images", (2500, 5000, 10_000, 20_000), rbf, 2, 1),
    "bootstrap, images": Series(
        "bootstrap interval", "images", (2500, 10_000, 40_000, 160_000), bootstrap_images, 1, 1
    ),
    "bootstrap, resamples": Series(
        "bootstrap interval", "resamples", (100, 300, 1000, 3000), bootstrap_resamples, 1, 1
    ),
    "study": Series("plan, ledger, dry run", "cells", (2, 22, 220), study, 1, 1),
}


def pretraining(processes: int, folder: Path) -> dict[str, float]:
    """Images a second of a pre-training in which processes of one thread each share a batch."""
    from medstrata.data.prepare import prepare
    from medstrata.data.synthetic import make_images

    images = make_images(folder / "images", images=512, size=64).parent
    prepare(images, folder / "store", size=64)
    words = "--recipe fair/moco --backbone resnet18 --epochs 2 --batch_size 64 --images all"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "medstrata", "pretrain"]
    command += [str(folder / "store"), "--out", str(folder / "run"), *words.split()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    records = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
    (last,) = (one for one in records if one.get("event") == "epoch" and one["epoch"] == 1)
    return {"samples_per_s": last["time"]["samples_per_s"]}
