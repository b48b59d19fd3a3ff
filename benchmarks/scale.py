"""Memory, start and speed of stores of up to a million images, on disk and from object storage.

    python benchmarks/scale.py [--quick]

A store of small made-up images with long names is written in the store's own format. Each
size has a process of its own, which opens the store, does what `pretrain` does before its first
step, and makes batches of two views. Anonymous memory leaves out the page cache of mapped
files; growth is over the smallest store, so that it leaves out the libraries. The last part
serves one store from an S3 server on loopback and reads it with a cache for half of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import write_result
from medstrata.data.store import FORMAT, shard_path

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BATCH = 256
SECONDS = 10.0  # of making batches
BUCKET = "scale-benchmark"


def write_store(folder: Path, images: int, size: int, shard_rows: int) -> None:
    """A store of noise; every third image begins another patient."""
    folder.mkdir()
    number = np.arange(images)
    generator = np.random.default_rng(0)
    shards = []
    for shard, start in enumerate(range(0, images, shard_rows)):
        rows = min(shard_rows, images - start)
        pixels = generator.integers(0, 256, (rows, size, size, 1), dtype=np.uint8)
        np.save(shard_path(folder, shard), pixels)
        shards.append([shard, rows])
    patient = pd.Series(number // 3).map("patient{:07d}".format).astype("string")
    name = patient + "/study1/view" + pd.Series(number % 3).astype("string") + "_frontal"
    table = {
        "sample_id": name,
        "patient_id": patient,
        "split": pd.Series(np.asarray(["train", "val", "test"])[number // 3 % 10 % 9 % 3]),
        "source": name + ".png",
        "width": size,
        "height": size,
        "source_channels": 1,
        "format": "PNG",
        "conversion": "",
        "checksum": pd.Series(number).map("{:032x}".format),
        "shard": number // shard_rows,
        "shard_row": number % shard_rows,
        "label.finding": number // 3 % 2,
    }
    pd.DataFrame(table).to_parquet(folder / "manifest.parquet", index=False)
    header = {
        "format": FORMAT,
        "size": size,
        "channels": 1,
        "mean": [0.5],
        "std": [0.29],
        "shards": shards,
        "digest": f"{images} x {size}",
        "label_columns": {"finding": {"kind": "binary", "classes": ["0", "1"]}},
    }
    (folder / "store.json").write_text(json.dumps(header))


def anonymous() -> float:
    """MiB of this process's memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


class Peak:
    """Watches anonymous memory from a thread."""

    def __init__(self) -> None:
        self.value, self._stop = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.value = max(self.value, anonymous())

    def stop(self) -> float:
        """MiB at the peak."""
        self._stop.set()
        self._thread.join()
        return max(self.value, anonymous())


def measure(location: str, shuffle_shards: int | None, seconds: float) -> dict[str, float]:
    """Everything about one store, in this process."""
    import torch

    import medstrata.pretraining  # noqa: F401  (so that no import falls into the times)
    from medstrata.data.labels import make_task
    from medstrata.data.store import open_store
    from medstrata.loader import Loader
    from medstrata.monitors import make_monitor
    from medstrata.preprocessing import identity
    from medstrata.randomness import permutation
    from medstrata.view_settings import moco_v2

    torch.set_num_threads(1)
    result, peak = {"imported": anonymous()}, Peak()

    def timed(name: str, started: float) -> None:
        result[f"{name}_s"] = time.perf_counter() - started

    started = time.perf_counter()
    store = open_store(location)
    timed("open", started)
    result["opened"] = anonymous()
    started = time.perf_counter()
    rows = store.rows("train")
    loader = Loader(
        store=store,
        rows=rows,
        settings=moco_v2(0),
        batch_size=BATCH,
        views=2,
        seed=0,
        device=torch.device("cpu"),
        **({} if shuffle_shards is None else {"shuffle_shards": shuffle_shards}),
    )
    timed("loader", started)
    started = time.perf_counter()
    task = make_task(store, "finding")
    make_monitor(store, rows, task, identity(store.size, 1), torch.device("cpu"), seed=0)
    timed("monitor", started)
    result["made"] = anonymous()
    started = time.perf_counter()
    permutation(len(store), 0, 0)
    timed("permutation", started)
    started = time.perf_counter()
    batches = loader.epoch(0)
    next(batches)
    timed("first_batch", started)
    done, started = 0, time.perf_counter()
    for batch in batches:
        done += len(batch.ids)
        if time.perf_counter() - started > seconds:
            break
    result["samples_per_s"] = done / (time.perf_counter() - started)
    batches.close()
    return result | {"peak": peak.stop()}


def in_own_process(location: Path | str, shuffle_shards: int | None, seconds: float) -> Any:
    arguments = [str(location), str(shuffle_shards or 0), str(seconds)]
    command = [sys.executable, __file__, "--measure", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RANK": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return json.loads(done.stdout)


def on_disk(sizes: tuple[int, ...], seconds: float) -> dict[str, Any]:
    print(
        f"{'images':>10}{'open s':>8}{'loader s':>9}{'monitor s':>10}{'order s':>8}"
        f"{'samples/s':>10}{'MiB opened':>11}{'peak':>6}{'growth':>7}"
    )
    results: dict[str, Any] = {}
    for images in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_store(Path(folder) / "made.store", images, size=32, shard_rows=4096)
            case = in_own_process(Path(folder) / "made.store", None, seconds)
        results[str(images)] = case
        case["growth"] = (case["peak"] - case["imported"]) - (
            results[str(sizes[0])]["peak"] - results[str(sizes[0])]["imported"]
        )
        print(
            f"{images:>10,}{case['open_s']:>8.2f}{case['loader_s']:>9.3f}"
            f"{case['monitor_s']:>10.2f}{case['permutation_s']:>8.3f}"
            f"{case['samples_per_s']:>10.0f}{case['opened'] - case['imported']:>11.0f}"
            f"{case['peak'] - case['imported']:>6.0f}{case['growth']:>7.0f}",
            flush=True,
        )
    return results


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        location, shuffle_shards, seconds = sys.argv[2:]
        print(json.dumps(measure(location, int(shuffle_shards) or None, float(seconds))))
        return
    parser = argparse.ArgumentParser(description="Stores of up to a million images.")
    parser.add_argument("--quick", action="store_true", help="a trial: small, nothing written")
    arguments = parser.parse_args()
    disk = on_disk(SIZES[:2] if arguments.quick else SIZES, 2 if arguments.quick else SECONDS)
    if not arguments.quick:
        print(write_result("scale", {"batch": BATCH, "MiB and s, by images": disk}))


if __name__ == "__main__":
    main()
