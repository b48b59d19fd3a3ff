"""Decoding image files into shards, in threads, so that an interrupted run can go on.

The samples are cut into runs of equal length. Each run becomes one shard and one part, a table of
what was read and what was not; the part is written last, so a run with a part is done. Samples of
one file are read together, by one thread.

Legend: C channels, H W height and width, equal here.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.fingerprints import DESCRIPTION, describe
from medstrata.data.formats.dicom.attributes import FACTS
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.data.patients import clean_id
from medstrata.data.prepare.decode import StoreFormat, decoding_threads, read_inside, resize_images
from medstrata.data.sources import Sources, evenly_spaced
from medstrata.data.store.layout import shard_path
from medstrata.runtime.console import progress_bar
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file
from medstrata.runtime.patient_key import site_key

PROBES = 64
DICOM_COLUMNS = tuple(f"dicom.{name}" for name in FACTS)
_PATIENT = ("patient", "patient_number", "patient_key")
_PROBED_SIDE = 256  # pixels; enough to tell grey from colour


def probe_images(
    sources: Sources, reading: ReadSettings, workers: int
) -> list[DecodedImage | ImageError]:
    """Read up to `PROBES` evenly spaced samples."""

    def probe(sample: int) -> DecodedImage | ImageError:
        frames = [int(sources.frames[sample])]
        return next(
            read_inside(sources.boundary, sources.path(sample), frames, reading, _PROBED_SIDE)
        )

    with decoding_threads(workers) as executor:
        return list(executor.map(probe, evenly_spaced(len(sources), PROBES).tolist()))


def write_shards(
    sources: Sources, store: Path, form: StoreFormat, workers: int, salt: str = ""
) -> None:
    """Decode all samples of which the store has no part yet.

    Args:
        sources: Where they are.
        store: Folder of the store; has a folder `parts`.
        form: Of the stored images.
        workers: Threads.
        salt: Goes into the hashes of files, so that two stores are not linked by them.
    """
    with decoding_threads(workers) as executor, progress_bar() as bar:
        task = bar.add_task("decode", total=len(sources))
        for number, start in enumerate(range(0, len(sources), form.rows_per_shard)):
            stop = min(start + form.rows_per_shard, len(sources))
            if _part_path(store, number).is_file():
                bar.advance(task, stop - start)
                continue
            pixels = np.zeros(
                (stop - start, form.size, form.size, form.channels),
                form.dtype,
            )

            def decode(
                ends: tuple[int, int], start: int = start, pixels: NDArray[Any] = pixels
            ) -> list[dict[str, Any]]:
                first, last = ends
                targets = pixels[first - start : last - start]
                return list(_decode(sources, first, form, targets, salt))

            records: list[dict[str, Any]] = []
            for some in executor.map(decode, _by_file(sources.file_index, start, stop)):
                records.extend(some)
                bar.advance(task, len(some))
            _write_run(store, number, start, pixels, records)


def _by_file(file_index: NDArray[np.int64], start: int, stop: int) -> list[tuple[int, int]]:
    """First sample and end of each stretch of samples from one file."""
    cuts = np.flatnonzero(np.diff(file_index[start:stop])) + start + 1
    bounds = [start, *cuts.tolist(), stop]
    return list(pairwise(bounds))


def read_parts(store: Path, samples: int, form: StoreFormat) -> pd.DataFrame:
    """All parts of a store as one table, a row a sample: `reason` is null for what was read."""
    runs = range(-(-samples // form.rows_per_shard))
    return pd.concat(
        [pd.read_parquet(_part_path(store, number)) for number in runs], ignore_index=True
    )


def _decode(
    sources: Sources, first: int, form: StoreFormat, targets: NDArray[Any], salt: str
) -> Iterator[dict[str, Any]]:
    """Fill in the pixels of samples of one file; gives their rows of the part."""
    frames = sources.frames[first : first + len(targets)].tolist()
    images = read_inside(
        sources.boundary, sources.path(first), frames, form.reading, form.smallest_side
    )
    for target, square in zip(targets, resize_images(images, form), strict=True):
        if isinstance(square, ImageError):
            yield {"reason": str(square)}
            continue
        target[:], image, note = square
        yield {
            "width": image.width,
            "height": image.height,
            "source_channels": 1 if image.pixels.ndim == 2 else 3,
            "format": image.format,
            "mode": image.mode,
            "conversion": "; ".join(filter(None, (image.conversion, note))),
            "file_hash": hash_file(image.checksum, salt),
            **_hashed_patient(image.patient),
            **{f"dicom.{name}": value for name, value in image.facts.items()},
            **describe(target),
            **_sums(target),
        }


def hash_file(checksum: str, salt: str) -> str | None:
    """A file's checksum by the key of this site: whoever has key, salt and file can tell it again.

    Returns:
        16 hexadecimal digits; None where there is no key, which only a patient is in need of.
    """
    try:
        key = site_key()
    except MedstrataError:
        return None
    return key.hash(f"{salt}\0{checksum}")


def _hashed_patient(patient: str | None) -> dict[str, str | None]:
    """A DICOM file's patient as a hash, and the fingerprint of the key that made it.

    `patient_number` is the hash of the id alone, for files of the patient that leave out who issued
    it.
    """
    issuer, _, text = (patient or "").partition("\0")
    number = clean_id(text)
    if number is None:
        return dict.fromkeys(_PATIENT)
    key = site_key()  # read anew each time: a file without a patient needs none
    hashed = key.hash(f"{clean_id(issuer) or ''}\0{number}"), key.hash(f"\0{number}")
    return dict(zip(_PATIENT, (*hashed, key.fingerprint), strict=True))


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
    words = ("format", "mode", "conversion", "file_hash", *_PATIENT, *DICOM_COLUMNS)
    sums = [f"{name}{c}" for name in ("sum", "squares") for c in range(pixels.shape[-1])]
    table = pd.DataFrame(records, columns=["reason", *whole, *words, *DESCRIPTION, *sums])
    table = table.astype({**dict.fromkeys((*whole, *sums), "Int64"), **DESCRIPTION})
    table = table.astype(dict.fromkeys(("reason", *words), "string"))
    good = table["reason"].isna().to_numpy()
    table.insert(0, "sample", np.arange(start, start + len(records)))
    table["shard"] = number
    table["shard_row"] = np.cumsum(good) - 1
    if good.any():
        with atomic_file(shard_path(store, number)) as temporary, temporary.open("wb") as stream:
            np.save(stream, pixels if good.all() else pixels[good])
    with atomic_file(_part_path(store, number)) as temporary:
        table.to_parquet(temporary, index=False)


def _part_path(store: Path, number: int) -> Path:
    return store / "parts" / f"{number:05d}.parquet"
