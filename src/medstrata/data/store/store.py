"""The store: decoded images as memory-mapped arrays, with their manifest.

Legend: N samples, B batch, C channels, H W height and width, equal here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medstrata.data.store.shard_cache import ShardCache
from medstrata.data.store.shards import Shards

FORMAT = 2
SPLITS = ("train", "val", "test")

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

    A million images cost a few bytes each: of the manifest only place and split are held, and
    everything else is read when it is asked for.

    Args:
        path: The folder.
        header: What store.json holds.
        files: Fetches shards that are not in the folder; None when all are.
        location: What messages call the store; by default its path.

    Attributes:
        path: The folder; of a remote store, where its parts are kept on this machine.
        location: What the user called the store: a path or an address.
        size: H and W in pixels.
        channels: C, 1 (grey) or 3 (RGB).
        dtype: Of the pixels, uint8 or uint16.
        mean: Mean of each channel over the train split, pixel values scaled to 0..1.
        std: Standard deviation of each channel, likewise.
        label_columns: Kind and classes of each label column, by its name.
        digest: Names pixels, splits and labels: stores with equal digests hold the same.
        plan: The settings that `prepare` made it with.
        patient_key: Fingerprint of the key that hashed its patients' ids; None where they are as
            they were found.
        shards: Shard of each sample, shape (N,).
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        *,
        files: ShardCache | None = None,
        location: str | None = None,
    ) -> None:
        self.path, self.location = path, location or str(path)
        self.size = int(header["size"])
        self.channels = int(header["channels"])
        self.dtype = np.dtype(np.uint8 if header["bits"] == 8 else np.uint16)
        self.mean = tuple(float(value) for value in header["mean"])
        self.std = tuple(float(value) for value in header["std"])
        self.digest = str(header["digest"])
        self.plan = dict(header.get("plan", {}))
        self.patient_key: str | None = header.get("patient_key")
        self.label_columns = {
            name: LabelColumn(column["kind"], tuple(column["classes"]))
            for name, column in header["label_columns"].items()
        }
        self._files = files
        table = self._read(["shard", "shard_row", "split"])
        self.shards = _numbers(table["shard"])
        self._shards = Shards(path, self.shards, _numbers(table["shard_row"]), files)
        split, names = _codes(table["split"])
        order = [SPLITS.index(name) if name in SPLITS else -1 for name in names]
        self._split = np.append(np.asarray(order, dtype=np.int8), -1)[split]

    def __len__(self) -> int:
        return len(self.shards)

    def __repr__(self) -> str:
        grey = "grey" if self.channels == 1 else "colour"
        return f"<Store {self.location}: {len(self)} images of {self.size} px, {grey}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: sizes, splits and labels."""
        rows = [
            ("images", str(len(self))),
            ("size", f"{self.size} px, {self.channels} x {self.dtype}"),
            *((split, f"{len(self.rows(split))} images") for split in SPLITS),
            *(
                (f"label {name}", f"{column.kind}: {', '.join(column.classes)}")
                for name, column in self.label_columns.items()
            ),
        ]
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows
        )
        return f"<table><caption>{escape(self.location)}</caption>{cells}</table>"

    def __getitem__(self, row: int) -> NDArray[Any]:
        """The pixels of one sample: a read-only view of the file, shape (H, W, C)."""
        return self._shards[row]

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copy the pixels of some samples.

        Args:
            rows: Sample numbers, shape (B,), in any order.

        Returns:
            Shape (B, H, W, C).
        """
        pixels = np.empty((len(rows), self.size, self.size, self.channels), dtype=self.dtype)
        for place, row in enumerate(rows):
            pixels[place] = self[row]
        return pixels

    def rows(self, split: str | None = None) -> NDArray[np.int64]:
        """Sample numbers of "train", "val" or "test", ascending; None for all."""
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        return np.flatnonzero(self._split == SPLITS.index(split)).astype(np.int64)

    def columns(self, *names: str) -> pd.DataFrame:
        """Some columns of the manifest, a row an image; read anew unless it is in memory."""
        if "manifest" in vars(self):
            return self.manifest[list(names)]
        frame: pd.DataFrame = self._read(names).to_pandas()
        return frame

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """A row per image, in the order of the samples.

        Columns sample_id, patient_id, site, split, source, width, height, source_channels, format,
        mode, conversion, checksum, pixel_checksum, fingerprint, dark_share, bright_share, contrast
        (see `fingerprints.describe`), technical DICOM attributes as `dicom.<keyword>`, shard,
        shard_row, and one `label.<column>` each, null where unknown.
        """
        return pd.read_parquet(self.path / "manifest.parquet")

    @property
    def patient_ids(self) -> NDArray[np.str_]:
        """The patient of each sample, shape (N,); `patients` is far smaller."""
        return self.columns("patient_id")["patient_id"].to_numpy(dtype=np.str_)

    @cached_property
    def patients(self) -> NDArray[np.int32]:
        """The number of each sample's patient, shape (N,); numbers sort as the ids do."""
        code, names = _codes(self._read(["patient_id"])["patient_id"])
        rank = np.argsort(np.argsort(np.asarray(names, dtype=np.str_), kind="stable"))
        return np.asarray(rank[code], dtype=np.int32)

    @property
    def is_remote(self) -> bool:
        """Whether shards are fetched from elsewhere."""
        return self._files is not None

    def batches(
        self, rows: NDArray[np.int64], batch_size: int, first: int = 0
    ) -> Iterator[NDArray[np.int64]]:
        """These samples a batch at a time, from the first wanted on; the last may be smaller.

        A remote store fetches a batch and two shards of them ahead.
        """
        ahead = batch_size
        if self._files is not None:
            ahead += 2 * len(rows) // len(np.unique(self.shards[rows]))
        for start in range(first * batch_size, len(rows), batch_size):
            self.expect(rows[start : start + ahead])
            yield rows[start : start + batch_size]

    def expect(self, rows: NDArray[np.int64]) -> None:
        """Say which samples will be read next, in this order; a remote store fetches them ahead."""
        if self._files is not None:
            shards = self.shards[rows]
            numbers, first = np.unique(shards, return_index=True)
            self._files.expect(numbers[np.argsort(first)].tolist())

    def check_room(self, shards: int) -> None:
        """Raise MedstrataError where a remote store cannot hold so many shards at once."""
        if self._files is not None:
            self._files.check_room(min(shards, int(self.shards.max()) + 1))

    def _read(self, names: Sequence[str]) -> pa.Table:
        return pq.read_table(self.path / "manifest.parquet", columns=list(names))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return np.asarray(column.to_numpy(), dtype=np.int32)


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """Number of each value (N,), -1 where null, and the values."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return np.asarray(codes, dtype=np.int32), encoded.dictionary.to_pylist()
