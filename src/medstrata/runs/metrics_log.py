"""metrics.jsonl, one line a record; its numbers go to trackers too, where there are any."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Writes the records of a run; on resume, cut back to what the checkpoint had seen.

    Args:
        folder: The run folder.
        length: Bytes of metrics.jsonl to keep.
        track: Called with the numbers of each record and its step.
    """

    def __init__(
        self,
        folder: Path,
        *,
        length: int = 0,
        track: Callable[[Mapping[str, float], int], None] | None = None,
    ) -> None:
        self._path = folder / "metrics.jsonl"
        if self._path.exists():
            os.truncate(self._path, length)
        self._file = self._path.open("a", encoding="utf-8")
        self._track = track

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record; numbers that are not finite are written as null."""
        line = json.dumps(finite(record), allow_nan=False)
        self._file.write(line + "\n")
        self._file.flush()
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


def read_metrics(path: Path, event: str) -> Iterator[dict[str, Any]]:
    """The records of one kind in a metrics.jsonl, oldest first, less a last line cut short."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                record = json.loads(line)
                if record["event"] == event:
                    yield record
