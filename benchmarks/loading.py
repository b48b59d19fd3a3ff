"""The loader on one core and on two, and how long the step of a real run waits for its batch.

    python benchmarks/loading.py [--quick]

Scaling: `Loader` makes batches of two views of 224 px from a 256 px store, bound
to one core and to two, in turns, in wall time. Waiting: `medstrata pretrain` runs for two epochs in
a process of its own; the share of time waited is that of its metrics.jsonl, second epoch.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import Section, Target, interleave, read_result, spread, write_result
from images import write_images, write_linked
from medstrata.data.loader import Loader
from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2
from wording import number, paragraphs, ratio, table

SHARE = 0.02  # of the time, waited at most
RUNS = {  # name -> backbone, pixels, batch, images
    "ResNet-18, 64 px": ("resnet18", 64, 128, 768),
    "ResNet-50, 224 px": ("resnet50", 224, 32, 96),
}


def loading(store: Store, cores: int, batches: int) -> Callable[[], None]:
    """Makes batches on some cores; the loader's threads take over what this thread is bound to."""
    available = sorted(os.sched_getaffinity(0))
    loader = Loader(
        store=store,
        rows=np.arange(len(store)).repeat(batches),
        settings=moco_v2(224),
        batch_size=len(store),
        views=2,
        seed=0,
        device=torch.device("cpu"),
    )

    def run() -> None:
        os.sched_setaffinity(0, available[:cores])
        assert sum(1 for _ in loader.epoch(0)) == batches
        os.sched_setaffinity(0, available)

    return run


def scaling(folder: Path, *, quick: bool) -> dict[str, Any]:
    images, batches, repeats = (16, 4, 2) if quick else (64, 12, 5)
    write_images(folder / "colour", images, 512, 3, "jpg")
    store = prepare(folder / "colour", folder / "colour.store", size=256)
    tasks = {str(cores): loading(store, cores, batches) for cores in (1, 2)}
    seconds = interleave(tasks, repeats, clock=time.perf_counter)
    rates = {name: [images * batches / one for one in runs] for name, runs in seconds.items()}
    gain = [two / one for one, two in zip(rates["1"], rates["2"], strict=True)]
    return {
        "samples_per_s": {name: spread(runs) for name, runs in rates.items()},
        "gain_of_two": spread(gain),
    }


def waiting(name: str, folder: Path) -> dict[str, Any]:
    """Of a run that is started as a user would."""
    backbone, size, batch, images = RUNS[name]
    write_linked(folder / name, images, max(size, 128), 3, "jpg", distinct=96)
    prepare(folder / name, folder / f"{name}.store", size=size)
    command = [sys.executable, "-m", "medstrata", "pretrain", str(folder / f"{name}.store")]
    command += ["--out", str(folder / f"{name}.run"), "--images", "all", "--epochs", "2"]
    command += ["--backbone", backbone, "--batch_size", str(batch), "--recipe", "fair/moco"]
    subprocess.run(command, check=True, capture_output=True)
    lines = (folder / f"{name}.run" / "metrics.jsonl").read_text().splitlines()
    epochs = [one for one in map(json.loads, lines) if one.get("event") == "epoch"]
    found = epochs[-1]["time"]
    return {
        "batch": batch,
        "data_wait": found["data_wait"],
        "samples_per_s": found["samples_per_s"],
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The loader, and waiting for it.")
    parser.add_argument("--quick", action="store_true", help="a trial: scaling alone, no file")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"scaling": scaling(Path(folder), quick=quick)}
        for cores, rate in found["scaling"]["samples_per_s"].items():
            print(f"{cores} cores: {rate['median']:.0f} two-view samples/s")
        gain = found["scaling"]["gain_of_two"]
        ends = f"{gain['lowest']:.2f} to {gain['highest']:.2f}"
        print(f"gain of two: {gain['median']:.2f} ({ends})", flush=True)
        if quick:
            return
        found["waiting"] = {name: waiting(name, Path(folder)) for name in RUNS}
    for name, run in found["waiting"].items():
        print(f"{name}: waited {run['data_wait']:.3%}, {run['samples_per_s']:.1f} samples/s")
    print(f"\nwritten to {write_result('loading', found)}")


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("loading")
    rates, gain = found["scaling"]["samples_per_s"], found["scaling"]["gain_of_two"]
    head = (
        "`python benchmarks/loading.py`: the loader makes two views of 224 px from a 256 px store "
        "in colour, wall time, in turns. Bound to one core it makes "
        f"{number(rates['1']['median'])} two-view samples a second, to two "
        f"{number(rates['2']['median'])}, {ratio(gain)} times as many."
    )
    waits = (
        "The progress bar and metrics.jsonl carry the share of time that the step waited for its "
        "batch. In the second epoch of `medstrata pretrain` with `fair/moco`:"
    )
    rows = [
        [f"{name}, batch {run['batch']}", number(run["samples_per_s"]), f"{run['data_wait']:.2%}"]
        for name, run in found["waiting"].items()
    ]
    text = paragraphs(head, waits, table(["", "samples a second", "waited"], rows))
    why = "the views of small images take as long as the step; the cores are shared by both"
    targets = [
        Target(
            f"time waited for data, {name}, batch {run['batch']}",
            100 * SHARE,
            100 * run["data_wait"],
            "%",
            at_most=True,
            why=why if run["data_wait"] > SHARE else "",
        )
        for name, run in found["waiting"].items()
    ]
    return Section("Waiting for data", text, targets)


if __name__ == "__main__":
    main()
