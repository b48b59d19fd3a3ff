"""Decoding image files into shards, in threads, so that an interrupted run can go on.

The files are cut into runs of equal length. Each run becomes one shard and one part, a table of
what was read and what was not; the part is written last, so a run with a part is done.

Legend: C channels, H W height and width, equal here.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.console import progress_bar
from medstrata.data.readers import Image, Unreadable, read_image
from medstrata.data.sources import OUTSIDE
from medstrata.data.squares import fit_square
from medstrata.data.store import SHARD_BYTES, SHARD_ROWS, shard_path
from medstrata.files import replacing

PROBES = 64
_PROBED_SIDE = 256  # pixels; enough to tell grey from colour


@dataclass(frozen=True)
class Form:
    """The form that stored images have.

    Attributes:
        size: H and W in pixels.
        channels: C, 1 or 3.
        fit: As `fit_square` takes it.
    """

    size: int
    channels: int
    fit: str

    @property
    def rows(self) -> int:
        """Files a run."""
        return min(SHARD_ROWS, max(1, SHARD_BYTES // (self.size**2 * self.channels)))


def probe_images(root: Path, names: Sequence[str], workers: int) -> list[Image | Unreadable]:
    """Read up to `PROBES` evenly spaced files."""
    places = np.unique(np.linspace(0, len(names) - 1, PROBES).round().astype(int))

    def probe(place: int) -> Image | Unreadable:
        try:
            return _read(root, names[place], _PROBED_SIDE)
        except Unreadable as unreadable:
            return unreadable

    with _decoding(workers) as executor:
        return list(executor.map(probe, places.tolist()))


def write_shards(root: Path, names: Sequence[str], store: Path, form: Form, workers: int) -> None:
    """Decode all files of which the store has no part yet.

    Args:
        root: Source folder, resolved.
        names: Paths relative to it.
        store: Folder of the store; has a folder `parts`.
        form: Of the stored images.
        workers: Threads.
    """
    with _decoding(workers) as executor, progress_bar() as bar:
        task = bar.add_task("decode", total=len(names))
        for number, start in enumerate(range(0, len(names), form.rows)):
            run = names[start : start + form.rows]
            if _part_path(store, number).is_file():
                bar.advance(task, len(run))
                continue
            pixels = np.zeros((len(run), form.size, form.size, form.channels), dtype=np.uint8)

            def decode(
                place: int, run: Sequence[str] = run, pixels: NDArray[np.uint8] = pixels
            ) -> dict[str, Any]:
                return _decode(root, run[place], form, pixels[place])

            records = []
            for record in executor.map(decode, range(len(run))):
                records.append(record)
                bar.advance(task)
            _write_run(store, number, start, pixels, records)


def read_parts(store: Path, files: int, form: Form) -> pd.DataFrame:
    """All parts of a store as one table, a row a file: `reason` is null for what was read."""
    runs = range(-(-files // form.rows))
    return pd.concat(
        [pd.read_parquet(_part_path(store, number)) for number in runs], ignore_index=True
    )


@contextmanager
def _decoding(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for decoding, quiet about odd metadata; work not begun is dropped on an error."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # images are spread over threads; OpenCV's own would only compete
    executor = ThreadPoolExecutor(workers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        cv2.setNumThreads(threads)


def _read(root: Path, name: str, least: int | None) -> Image:
    path = root / name
    if not path.resolve().is_relative_to(root):
        raise Unreadable(path, OUTSIDE)
    return read_image(path, least)


def _decode(root: Path, name: str, form: Form, target: NDArray[np.uint8]) -> dict[str, Any]:
    """Fill in the pixels of one file; returns its row of the part."""
    try:
        # Twice the size leaves the last step of shrinking to area resampling.
        image = _read(root, name, 2 * form.size)
    except Unreadable as unreadable:
        return {"reason": unreadable.reason}
    target[:], note = fit_square(image.pixels, form.size, form.channels, form.fit)
    return {
        "width": image.width,
        "height": image.height,
        "source_channels": 1 if image.pixels.ndim == 2 else 3,
        "format": image.format,
        "conversion": "; ".join(filter(None, (image.conversion, note))),
        "checksum": image.checksum,
        **_sums(target),
    }


def _sums(pixels: NDArray[np.uint8]) -> dict[str, int]:
    """Sum of the values and of their squares in each channel, exactly, by counting values."""
    sums, values = {}, np.arange(256)
    for channel in range(pixels.shape[-1]):
        counts = cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel()
        counts = counts.astype(np.int64)
        sums[f"sum{channel}"] = int(counts @ values)
        sums[f"squares{channel}"] = int(counts @ values**2)
    return sums


def _write_run(
    store: Path, number: int, start: int, pixels: NDArray[np.uint8], records: list[dict[str, Any]]
) -> None:
    whole = ("width", "height", "source_channels")
    sums = [f"{name}{c}" for name in ("sum", "squares") for c in range(pixels.shape[-1])]
    table = pd.DataFrame(
        records, columns=["reason", *whole, "format", "conversion", "checksum", *sums]
    )
    table = table.astype(dict.fromkeys((*whole, *sums), "Int64"))
    for name in ("reason", "format", "conversion", "checksum"):
        table[name] = table[name].astype("string")
    good = table["reason"].isna().to_numpy()
    table.insert(0, "file", np.arange(start, start + len(records)))
    table["shard"] = number
    table["shard_row"] = np.cumsum(good) - 1
    if good.any():
        with replacing(shard_path(store, number)) as temporary, temporary.open("wb") as stream:
            np.save(stream, pixels if good.all() else pixels[good])
    with replacing(_part_path(store, number)) as temporary:
        table.to_parquet(temporary, index=False)


def _part_path(store: Path, number: int) -> Path:
    return store / "parts" / f"{number:05d}.parquet"


def default_workers() -> int:
    """One thread a core: decoding releases Python's lock."""
    return os.cpu_count() or 1
