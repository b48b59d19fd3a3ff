"""metrics.jsonl, one line a record; its numbers go to trackers too, where there are any."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medstrata.runtime.documents import parse_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import no_room


class MetricsLog:
    """Writes the records of a run; on resume, cut back to what the checkpoint had seen.

    Args:
        folder: The run folder.
        length: Bytes of metrics.jsonl to keep.
        track: Called with the numbers of each record and its step.

    Raises:
        MedstrataError: the file is shorter than that.
    """

    def __init__(
        self,
        folder: Path,
        *,
        length: int = 0,
        track: Callable[[Mapping[str, float], int], None] | None = None,
    ) -> None:
        self._path = folder / "metrics.jsonl"
        there = self._path.stat().st_size if self._path.exists() else 0
        if there < length:
            raise MedstrataError(
                f"{self._path} has lost records: {there} of the {length} bytes that the run had "
                "written are there; put the file back, or redo the run with --overwrite"
            )
        if there:
            os.truncate(self._path, length)
        self._file = self._path.open("a", encoding="utf-8")
        self._track = track

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; numbers that are not finite are written as null.

        Raises:
            MedstrataError: there is no room for it.
        """
        line = json.dumps(finite(record), allow_nan=False)
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise no_room(self._path, error) from error
        if self._track is not None:
            self._track(dict(_numbers(record, record["event"])), record["step"])

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._path.stat().st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _numbers(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}/{key}")
        elif isinstance(value, int | float) and key not in ("step", "epoch", "validation"):
            yield f"{prefix}/{key}", float(value)


def finite(value: Any) -> Any:
    """The same nested value with numbers that JSON cannot hold replaced by None."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(path: Path, event: str, length: int | None = None) -> Iterator[dict[str, Any]]:
    """The records of one kind in a metrics.jsonl, oldest first, less a last line cut short.

    Args:
        path: The file.
        event: Which kind.
        length: Bytes of it that count; None is all.

    Raises:
        MedstrataError: a line is no record.
    """
    read = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            read += len(line)
            if length is not None and read > length:
                return
            if line.endswith(b"\n"):
                try:
                    record = parse_json(line)
                    wanted = record["event"] == event
                except (ValueError, KeyError, TypeError) as error:
                    raise MedstrataError(
                        f"{path}, line {number} is no record ({type(error).__name__}); put the "
                        "file back, or redo the run with --overwrite"
                    ) from error
                if wanted:
                    yield record
