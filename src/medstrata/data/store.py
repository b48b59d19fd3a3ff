"""The store: decoded images as memory-mapped arrays, with their manifest.

A store is a folder:

    store.json         sizes, statistics, label columns, shards and the settings that made it
    manifest.parquet   a row per image: ids, split, source, record of decoding, place, labels
    images-00000.npy   pixels, uint8 (N, H, W, C), at most `SHARD_ROWS` rows and `SHARD_BYTES`
    quarantine.csv     files that gave no image, with the reason
    audit.json         what could make results look better than they are
    preview.png        a contact sheet

`store.json` is written last, so a folder with it is whole.

Legend: N samples, B batch, C channels, H W height and width, equal here.
"""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.errors import MedstrataError

FORMAT = 2
SHARD_ROWS = 4096
SHARD_BYTES = 256 * 2**20
SPLITS = ("train", "val", "test")
_OPEN_SHARDS = 512  # each holds a file descriptor, of which many systems allow 1024

ColumnKind = Literal["binary", "multiclass", "ordinal"]


@dataclass(frozen=True)
class LabelColumn:
    """What the values of one label column mean.

    Attributes:
        kind: binary, multiclass or ordinal.
        classes: Its values as text; of a binary column the second is positive, of an ordinal one
            they ascend.
    """

    kind: ColumnKind
    classes: tuple[str, ...]


class Store:
    """Decoded images of one size, with ids, splits and labels; never written to.

    Attributes:
        path: The folder.
        size: H and W in pixels.
        channels: C, 1 (grey) or 3 (RGB).
        mean: Mean of each channel over the train split, pixel values scaled to 0..1.
        std: Standard deviation of each channel, likewise.
        manifest: A row per image, in the order of the samples; columns sample_id, patient_id,
            split, source, width, height, source_channels, format, conversion, checksum,
            pixel_checksum, fingerprint, dark_share, bright_share, contrast (see
            `fingerprints.describe`), shard, shard_row, and one
            `label.<column>` each, null where unknown.
        label_columns: Kind and classes of each label column, by its name.
        digest: Names pixels, splits and labels: stores with equal digests hold the same.
    """

    def __init__(self, path: Path, header: dict[str, Any], manifest: pd.DataFrame) -> None:
        self.path = path
        self.size = int(header["size"])
        self.channels = int(header["channels"])
        self.mean = tuple(float(value) for value in header["mean"])
        self.std = tuple(float(value) for value in header["std"])
        self.digest = str(header["digest"])
        self.label_columns = {
            name: LabelColumn(column["kind"], tuple(column["classes"]))
            for name, column in header["label_columns"].items()
        }
        self.manifest = manifest
        self._shard = manifest["shard"].to_numpy(dtype=np.int64)
        self._shard_row = manifest["shard_row"].to_numpy(dtype=np.int64)
        self._split = pd.Categorical(manifest["split"], categories=list(SPLITS)).codes
        self._open_shard = lru_cache(maxsize=_OPEN_SHARDS)(self._map_shard)

    def __len__(self) -> int:
        return len(self._shard)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """The pixels of one sample: a read-only view of the file, shape (H, W, C)."""
        pixels: NDArray[np.uint8] = self._open_shard(int(self._shard[row]))[self._shard_row[row]]
        return pixels

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copy the pixels of some samples.

        Args:
            rows: Sample numbers, shape (B,), in any order.

        Returns:
            Shape (B, H, W, C).
        """
        pixels = np.empty((len(rows), self.size, self.size, self.channels), dtype=np.uint8)
        for place, row in enumerate(rows):
            pixels[place] = self[row]
        return pixels

    def rows(self, split: str | None = None) -> NDArray[np.int64]:
        """Sample numbers of "train", "val" or "test", ascending; None for all."""
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        return np.flatnonzero(self._split == SPLITS.index(split)).astype(np.int64)

    @cached_property
    def patient_ids(self) -> NDArray[np.str_]:
        """The patient of each sample, shape (N,)."""
        return self.manifest["patient_id"].to_numpy(dtype=np.str_)

    def _map_shard(self, number: int) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = np.load(shard_path(self.path, number), mmap_mode="r")
        # A plain array over the same memory: slicing a memmap costs ten times as much.
        return pixels.view(np.ndarray)


def shard_path(store: Path, number: int) -> Path:
    """Where a shard lies."""
    return store / f"images-{number:05d}.npy"


def open_store(path: Path | str) -> Store:
    """Open a store that `prepare` has made.

    Args:
        path: Its folder.

    Returns:
        The store, its pixels memory-mapped.

    Raises:
        MedstrataError: there is no store, or it is unfinished, damaged or of another format.
    """
    path = Path(path)
    if not (path / "store.json").is_file():
        if (path / "parts").is_dir():
            raise MedstrataError(f"{path} is unfinished: run the same prepare command again")
        raise MedstrataError(f"{path} is not a store: make one with `medstrata prepare`")
    try:
        header = json.loads((path / "store.json").read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise MedstrataError(
                f"{path} has store format {header['format']}, this version reads {FORMAT}: "
                "prepare it again with --overwrite"
            )
        _check_shards(path, header)
        store = Store(path, header, pd.read_parquet(path / "manifest.parquet"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if len(store) != sum(rows for _, rows in header["shards"]):
        raise _damaged(path, "manifest and shards differ in their number of images")
    return store


def _check_shards(path: Path, header: dict[str, Any]) -> None:
    """Find missing and cut shards by their size alone, so that opening stays quick."""
    for number, rows in header["shards"]:
        shard = shard_path(path, number)
        wanted = rows * header["size"] ** 2 * header["channels"]
        if not shard.is_file() or shard.stat().st_size < wanted:
            raise _damaged(path, f"{shard.name} is missing or cut short")


def _damaged(path: Path, what: str) -> MedstrataError:
    line = " ".join(what.split())
    return MedstrataError(f"{path} is damaged ({line}): prepare it again with --overwrite")
