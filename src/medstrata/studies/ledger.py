"""Which cells of a study are finished, and whether they are what is asked for now."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medstrata.runs.folder import read_result
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.studies.plan import StudyCell


class Ledger:
    """One small file for each finished cell, written last.

    Args:
        out: Folder of the study.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def finished(self, cell: StudyCell) -> bool:
        """Whether the cell ended well with what is asked for now."""
        return self._config(cell) == cell.config

    def changed(self, cells: Iterable[StudyCell]) -> dict[StudyCell, str]:
        """Cells that ended well, but with other settings than now: which, before and after."""
        differences = {}
        for cell in cells:
            config = self._config(cell)
            if config not in (None, cell.config):
                differences[cell] = _difference(config, cell.config)
        return differences

    def finish(self, cell: StudyCell) -> None:
        """Remember that the cell ended well."""
        path = self._path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"config": cell.config}, indent=1) + "\n")

    def forget(self, cells: Sequence[StudyCell]) -> None:
        """Remove cells and what they made."""
        for cell in cells:
            self._path(cell).unlink(missing_ok=True)
            shutil.rmtree(self._out / cell.folder, ignore_errors=True)

    def result(self, cell: StudyCell) -> dict[str, Any] | None:
        """The result of a cell that ended in a run folder."""
        return read_result(self._out / cell.folder)

    def _path(self, cell: StudyCell) -> Path:
        return self._out / "cells" / f"{cell.folder}.json"

    def _config(self, cell: StudyCell) -> dict[str, Any] | None:
        """What a finished cell was made with; None where its folder is not there."""
        path = self._path(cell)
        if not path.is_file() or not (self._out / cell.folder).is_dir():
            return None
        if cell.kind != "prepare" and self.result(cell) is None:
            return None
        try:
            return dict(read_json(path)["config"])
        except (ValueError, TypeError, KeyError) as error:
            raise MedstrataError(
                f"{path} is damaged, or of an earlier version: delete it to make the cell again"
            ) from error


def _difference(before: Any, now: Any, name: str = "") -> str:
    """The first place in which two nested values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                return _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    return f"{name} {before!r} -> {now!r}"
