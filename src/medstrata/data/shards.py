"""Decoding image files into shards, in threads, so that an interrupted run can go on.

The samples are cut into runs of equal length. Each run becomes one shard and one part, a table of
what was read and what was not; the part is written last, so a run with a part is done. Samples of
one file are read together, by one thread.

Legend: C channels, H W height and width, equal here.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.console import progress_bar
from medstrata.data.auditing.fingerprints import DESCRIPTION, describe
from medstrata.data.formats.dicom_facts import FACTS
from medstrata.data.formats.readers import read_images
from medstrata.data.formats.reading import Image, Reading
from medstrata.data.formats.refusals import Refused, Unreadable
from medstrata.data.sources import OUTSIDE, Sources
from medstrata.data.squares import fit_square
from medstrata.data.store import SHARD_BYTES, SHARD_ROWS, shard_path
from medstrata.files import replacing

PROBES = 64
DICOM_COLUMNS = tuple(f"dicom.{name}" for name in FACTS)
_PROBED_SIDE = 256  # pixels; enough to tell grey from colour


@dataclass(frozen=True)
class Form:
    """The form that stored images have.

    Attributes:
        size: H and W in pixels.
        channels: C, 1 or 3.
        fit: As `fit_square` takes it.
        reading: How files are read.
    """

    size: int
    channels: int
    fit: str
    reading: Reading

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the stored pixels."""
        return np.uint8 if self.reading.bits == 8 else np.uint16

    @property
    def rows(self) -> int:
        """Samples a run."""
        image = self.size**2 * self.channels * self.reading.bits // 8
        return min(SHARD_ROWS, max(1, SHARD_BYTES // image))

    @property
    def least(self) -> int | None:
        """Sides in pixels that a decoded image needs; None for all that the file has.

        Twice the size leaves the last step of shrinking to area resampling; a fundus is about as
        wide as its image but may be narrower.
        """
        return {"keep": None, "fundus": 3 * self.size}.get(self.fit, 2 * self.size)


def probe_images(sources: Sources, reading: Reading, workers: int) -> list[Image | Unreadable]:
    """Read up to `PROBES` evenly spaced samples."""
    samples = np.unique(np.linspace(0, len(sources) - 1, PROBES).round().astype(int))

    def probe(sample: int) -> Image | Unreadable:
        file = sources.files[sources.places[sample]]
        (image,) = _read(sources.root, file, [int(sources.frames[sample])], reading, _PROBED_SIDE)
        return image

    with _decoding(workers) as executor:
        return list(executor.map(probe, samples.tolist()))


def write_shards(sources: Sources, store: Path, form: Form, salt: bytes, workers: int) -> None:
    """Decode all samples of which the store has no part yet.

    Args:
        sources: Where they are.
        store: Folder of the store; has a folder `parts`.
        form: Of the stored images.
        salt: Makes hashes of DICOM patients that nobody without it can repeat.
        workers: Threads.
    """
    with _decoding(workers) as executor, progress_bar() as bar:
        task = bar.add_task("decode", total=len(sources))
        for number, start in enumerate(range(0, len(sources), form.rows)):
            stop = min(start + form.rows, len(sources))
            if _part_path(store, number).is_file():
                bar.advance(task, stop - start)
                continue
            pixels = np.zeros((stop - start, form.size, form.size, form.channels), form.dtype)

            def decode(
                ends: tuple[int, int], start: int = start, pixels: NDArray[Any] = pixels
            ) -> list[dict[str, Any]]:
                first, last = ends
                targets = pixels[first - start : last - start]
                return list(_decode(sources, first, form, salt, targets))

            records: list[dict[str, Any]] = []
            for some in executor.map(decode, _by_file(sources.places, start, stop)):
                records.extend(some)
                bar.advance(task, len(some))
            _write_run(store, number, start, pixels, records)


def _by_file(places: NDArray[np.int64], start: int, stop: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch of samples from one file."""
    cuts = np.flatnonzero(np.diff(places[start:stop])) + start + 1
    bounds = [start, *cuts.tolist(), stop]
    return list(pairwise(bounds))


def read_parts(store: Path, samples: int, form: Form) -> pd.DataFrame:
    """All parts of a store as one table, a row a sample: `reason` is null for what was read."""
    runs = range(-(-samples // form.rows))
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


def _read(
    root: Path, name: str, frames: Sequence[int], reading: Reading, least: int | None
) -> Iterator[Image | Unreadable]:
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # as Python 3.11 and 3.12 say of links that lead in a circle
        return repeat(Unreadable(path, "link that leads nowhere"), len(frames))
    if not inside:
        return repeat(Unreadable(path, OUTSIDE), len(frames))
    return read_images(path, [None if frame < 0 else frame for frame in frames], reading, least)


def _decode(
    sources: Sources, first: int, form: Form, salt: bytes, targets: NDArray[Any]
) -> Iterator[dict[str, Any]]:
    """Fill in the pixels of samples of one file; gives their rows of the part."""
    name = sources.files[sources.places[first]]
    frames = sources.frames[first : first + len(targets)].tolist()
    images = _read(sources.root, name, frames, form.reading, form.least)
    for target, image in zip(targets, images, strict=True):
        if isinstance(image, Unreadable):
            yield {"reason": image.reason}
            continue
        try:
            target[:], note = fit_square(image.pixels, form.size, form.channels, form.fit)
        except Refused as refused:
            yield {"reason": str(refused)}
            continue
        yield {
            "width": image.width,
            "height": image.height,
            "source_channels": 1 if image.pixels.ndim == 2 else 3,
            "format": image.format,
            "mode": image.mode,
            "conversion": "; ".join(filter(None, (image.conversion, note))),
            "checksum": image.checksum,
            "patient": None if image.patient is None else hash_patient(image.patient, salt),
            **{f"dicom.{name}": value for name, value in image.facts.items()},
            **describe(target),
            **_sums(target),
        }


def hash_patient(patient: str, salt: bytes) -> str:
    """A patient's identity as a keyed BLAKE2b hash of 64 bits, the same for the same salt."""
    return hashlib.blake2b(
        patient.encode("utf-8", "surrogatepass"), key=salt, digest_size=8
    ).hexdigest()


def _sums(pixels: NDArray[Any]) -> dict[str, int]:
    """Sum of the values and of their squares in each channel, exactly, by counting values."""
    levels = int(np.iinfo(pixels.dtype).max) + 1
    sums, values = {}, np.arange(levels)
    for channel in range(pixels.shape[-1]):
        counts = cv2.calcHist([pixels], [channel], None, [levels], [0, levels]).ravel()
        counts = counts.astype(np.int64)
        sums[f"sum{channel}"] = int(counts @ values)
        sums[f"squares{channel}"] = int(counts @ values**2)
    return sums


def _write_run(
    store: Path, number: int, start: int, pixels: NDArray[Any], records: list[dict[str, Any]]
) -> None:
    whole = ("width", "height", "source_channels")
    words = ("format", "mode", "conversion", "checksum", "patient", *DICOM_COLUMNS)
    sums = [f"{name}{c}" for name in ("sum", "squares") for c in range(pixels.shape[-1])]
    table = pd.DataFrame(records, columns=["reason", *whole, *words, *DESCRIPTION, *sums])
    table = table.astype({**dict.fromkeys((*whole, *sums), "Int64"), **DESCRIPTION})
    table = table.astype(dict.fromkeys(("reason", *words), "string"))
    good = table["reason"].isna().to_numpy()
    table.insert(0, "sample", np.arange(start, start + len(records)))
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
