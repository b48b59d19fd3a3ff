"""Features as a file that grows row by row: Parquet or npz.

Parquet: `id`, `patient_id` where known, and for each stage a column of lists of D float32 values.
npz: the same names as arrays, stages (N, D), and `metadata`. Parquet keeps the metadata, JSON in
both, under the key `medstrata` of its schema.

Legend: N images, B of them at a time, D dimensions of a stage.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file

_GROUP_BYTES = 16 * 2**20  # of a row group: what is held in memory
SUFFIXES = (".parquet", ".npz")


class FeatureFile(Protocol):
    """Takes features row by row."""

    def write(
        self, ids: list[str], patients: list[str] | None, features: list[NDArray[np.float32]]
    ) -> None:
        """Append B rows: an array (B, D) for each stage, in the stages' order."""


def check_suffix(out: Path) -> None:
    """Raise MedstrataError unless the name says how features are to be kept."""
    if out.suffix not in SUFFIXES:
        raise MedstrataError(f"{out} must end in {' or '.join(SUFFIXES)}: that is the format")


@contextmanager
def feature_file(
    out: Path, widths: Mapping[str, int], metadata: Mapping[str, Any]
) -> Iterator[FeatureFile]:
    """Open a file of features, which appears under its name when it is whole.

    Args:
        out: Ends in .parquet or .npz.
        widths: D of each stage.
        metadata: Plain values, to be kept in the file.
    """
    text = json.dumps(metadata)
    with atomic_file(out) as temporary, ExitStack() as stack:
        if out.suffix == ".parquet":
            parquet = _Parquet(temporary, widths, text)
            yield parquet
            parquet.close()
        else:
            files = {name: stack.enter_context(_spool(out.parent)) for name in widths}
            arrays = _Npz(widths, files)
            yield arrays
            arrays.save(temporary, text)


class _Parquet:
    def __init__(self, path: Path, widths: Mapping[str, int], metadata: str) -> None:
        self._path, self._widths, self._metadata = path, widths, metadata
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def write(
        self, ids: list[str], patients: list[str] | None, features: list[NDArray[np.float32]]
    ) -> None:
        columns: dict[str, pa.Array] = {"id": pa.array(ids, pa.string())}
        if patients is not None:
            columns["patient_id"] = pa.array(patients, pa.string())
        for (name, width), values in zip(self._widths.items(), features, strict=True):
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, width)
            self._bytes += values.nbytes
        self._waiting.append(
            pa.table(columns).replace_schema_metadata({"medstrata": self._metadata})
        )
        if self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, table.schema)
            self._writer.write_table(table.combine_chunks())
            self._waiting, self._bytes = [], 0

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()


class _Npz:
    """Rows go to a file for each stage, since an array's length stands before its values."""

    def __init__(self, widths: Mapping[str, int], files: Mapping[str, IO[bytes]]) -> None:
        self._widths, self._files = widths, files
        self._ids: list[str] = []
        self._patients: list[str] = []

    def write(
        self, ids: list[str], patients: list[str] | None, features: list[NDArray[np.float32]]
    ) -> None:
        self._ids += ids
        self._patients += patients or []
        for file, values in zip(self._files.values(), features, strict=True):
            file.write(np.ascontiguousarray(values).tobytes())

    def save(self, path: Path, metadata: str) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "metadata": np.array(metadata),
            "id": np.array(self._ids),
        }
        if self._patients:
            arrays["patient_id"] = np.array(self._patients)
        for name, width in self._widths.items():
            self._files[name].flush()
            shape = (len(self._ids), width)
            arrays[name] = np.memmap(self._files[name], np.float32, mode="r", shape=shape)
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)


def _spool(folder: Path) -> IO[bytes]:
    """A file without a name, on the disk where the result will lie."""
    return tempfile.TemporaryFile(dir=folder)
