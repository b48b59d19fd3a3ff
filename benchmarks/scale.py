"""Memory, start and speed of stores of up to a million images, on disk and from object storage.

    python benchmarks/scale.py [--quick]

A store of small made-up images with long names is written in the store's own format. Each
size has a process of its own, which opens the store, does what `pretrain` does before its first
step, and makes batches of two views. Anonymous memory leaves out the page cache of mapped files;
growth is over the smallest store, so that it leaves out the libraries. The last part reads one
store from disk and from an S3 server on loopback, with a cache for half of it, in turns.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd

from harness import Section, read_result, spread, write_result
from medstrata.data.push import push
from medstrata.data.store import FORMAT, shard_path
from wording import gib, number, paragraphs, table

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
        "bits": 8,
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
        shuffle_shards=shuffle_shards,
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


def from_storage(images: int, turns: int, seconds: float) -> dict[str, Any]:
    """Samples a second of one store by three ways, in turns; the cache is empty each time."""
    with tempfile.TemporaryDirectory() as temporary, serving() as address:
        folder = Path(temporary) / "made.store"
        write_store(folder, images, size=64, shard_rows=images // 40)
        os.environ["MEDSTRATA_CACHE_GB"] = str(images * 64 * 64 / 2e9)
        push(folder, f"{address}/made.store")
        rates: dict[str, list[float]] = {}
        firsts: list[float] = []
        for turn in range(turns):
            os.environ["MEDSTRATA_CACHE"] = str(Path(temporary) / f"cache{turn}")
            for name, location, shards in (
                ("disk, all mixed", folder, None),
                ("disk, 8 shards mixed", folder, 8),
                ("S3 on loopback, 8 shards mixed", f"{address}/made.store", 8),
            ):
                case = in_own_process(location, shards, seconds)
                rates.setdefault(name, []).append(case["samples_per_s"])
            firsts.append(case["first_batch_s"])
            kept = sum(path.stat().st_size for path in Path(temporary).rglob("cache*/**/*.npy"))
            assert kept <= images * 64 * 64 / 2
            shutil.rmtree(os.environ["MEDSTRATA_CACHE"])
    found = {name: spread(values) for name, values in rates.items()}
    for name, values in found.items():
        ends = f"{values['lowest']:.0f} to {values['highest']:.0f}"
        print(f"{name:34}{values['median']:>8.0f} samples/s ({ends})")
    print(f"first batch from S3 after {np.median(firsts):.2f} s")
    return {"samples_per_s": found, "first_batch_s": spread(firsts)}


@contextmanager
def serving() -> Iterator[str]:
    """An S3 server in a process of its own; gives the address of an empty bucket."""
    code = (
        "import sys, threading\nfrom moto.server import ThreadedMotoServer\n"
        "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)\nserver.start()\n"
        "print(server.get_host_and_port()[1], flush=True)\nsys.stdin.read()"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        keys = {"AWS_ACCESS_KEY_ID": "loopback", "AWS_SECRET_ACCESS_KEY": "loopback"}
        os.environ.update(keys, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=endpoint)
        urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT")).close()  # noqa: S310  (loopback)
        try:
            yield f"s3://{BUCKET}"
        finally:
            server.terminate()


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        location, shuffle_shards, seconds = sys.argv[2:]
        print(json.dumps(measure(location, int(shuffle_shards) or None, float(seconds))))
        return
    parser = argparse.ArgumentParser(description="Stores of up to a million images.")
    parser.add_argument("--quick", action="store_true", help="a trial: small, nothing written")
    arguments = parser.parse_args()
    disk = on_disk(SIZES[:2] if arguments.quick else SIZES, 2 if arguments.quick else SECONDS)
    images, turns = (20_000, 2) if arguments.quick else (200_000, 5)
    storage = from_storage(images, turns, 2 if arguments.quick else SECONDS)
    if not arguments.quick:
        settings = {"batch": BATCH, "images in storage": images}
        print(write_result("scale", settings | {"disk": disk, "storage": storage}))


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("scale")
    rows = [
        [
            number(int(images)),
            f"{case['open_s']:.2f} s",
            f"{case['loader_s']:.2g} s",
            f"{case['permutation_s']:.2g} s",
            number(case["samples_per_s"]),
            gib((case["peak"] - case["imported"]) / 1024),
        ]
        for images, case in found["disk"].items()
        if case["samples_per_s"]  # not where there was one batch
    ]
    storage = found["storage"]
    rates = "; ".join(
        f"{name} {number(rate['median'])} ({number(rate['lower_quartile'])} to "
        f"{number(rate['upper_quartile'])})"
        for name, rate in storage["samples_per_s"].items()
    )
    head = (
        "`python benchmarks/scale.py`: stores of 32 px images with long names, batches of "
        f"{found['batch']}, two views, a process each. Memory is anonymous, at its peak, above "
        "the imports."
    )
    heads = ["images", "open", "make the loader", "order of an epoch", "two-view samples a second"]
    streaming = (
        f"Streaming: {found['images in storage']:,} images of 64 px in 40 shards, from the disk "
        "and from an S3 server on loopback, with a cache for half of them. Two-view samples a "
        f"second: {rates}. The first batch from S3 came after "
        f"{storage['first_batch_s']['median']:.1f} s. Differences within these ranges say nothing."
    )
    text = paragraphs(head, table([*heads, "memory"], rows, "rrrrrr"), streaming)
    return Section("Scale", text)


if __name__ == "__main__":
    main()
