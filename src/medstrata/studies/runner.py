"""Running a study: cells in order, each once, whatever happens in between."""

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import yaml
from filelock import FileLock, Timeout

from medstrata.runtime.errors import MedstrataError, Stopped, one_line
from medstrata.runtime.files import write_text
from medstrata.runtime.signals import SCHEDULER_SIGNALS, signal_handler
from medstrata.studies.ledger import Ledger
from medstrata.studies.plan import StudyCell, input_digests, plan
from medstrata.studies.progress import Progress
from medstrata.studies.settings import StudySettings
from medstrata.studies.workers import CellFuture, Workers, log_path

_POLL_SECONDS = 0.2
# A crash ends every cell that ran beside the one that caused it.
_ATTEMPTS = 3


def run_cells(
    settings: StudySettings, out: Path, workers: Workers, *, root: Path | str = ".",
    redo: bool = False,
) -> None:  # fmt: skip
    """Run every cell of a study that is not finished yet.

    Args:
        settings: The study.
        out: Its folder.
        workers: Where cells run.
        root: Folder that relative paths in the settings start from.
        redo: Make cells again that were finished with other settings.

    Raises:
        MedstrataError: another process works on the study, finished cells have other settings,
            or cells failed; these are named, and all others are finished by then.
        Stopped: Ctrl-C or SIGTERM; what ran was asked to save.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / "study.lock", timeout=0):
            cells, ledger = plan(settings, input_digests(settings, Path(root))), Ledger(out)
            _require_unchanged(cells, ledger, out, redo)
            plain = json.loads(json.dumps(asdict(settings)))
            write_text(out / "study.yaml", yaml.safe_dump(plain, sort_keys=False))
            failed = _Run(cells, ledger, workers, out).run()
    except Timeout as error:
        raise MedstrataError(f"another process runs the study in {out}") from error
    if failed:
        first = next(iter(failed))
        others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise MedstrataError(
            f"{len(failed)} of {len(cells)} cells failed: {first}: {failed[first]}{others}; the "
            f"same command tries these again; what they said is in {log_path(out, first)}"
        )


def _require_unchanged(cells: list[StudyCell], ledger: Ledger, out: Path, redo: bool) -> None:
    changed = ledger.changed(cells)
    if changed and not redo:
        cell, difference = next(iter(changed.items()))
        raise MedstrataError(
            f"{len(changed)} finished cells of {out} were made with other settings, such as {cell} "
            f"({difference}); choose another --out, or add --redo to make them again"
        )
    ledger.forget(list(changed))


class _Run:
    def __init__(self, cells: list[StudyCell], ledger: Ledger, workers: Workers, out: Path) -> None:
        self._ledger, self._workers = ledger, workers
        self._progress = Progress(cells, out, workers.slots)
        self._done: set[str] = set()
        self._waiting: list[StudyCell] = []
        self._running: dict[StudyCell, CellFuture] = {}
        self._failed: dict[StudyCell, str] = {}
        self._attempts: Counter[StudyCell] = Counter()
        for cell in cells:
            if ledger.finished(cell):
                self._done.add(cell.folder)
                self._progress.finished_before(cell, ledger.result(cell))
            else:
                self._waiting.append(cell)

    def run(self) -> dict[StudyCell, str]:
        """Run what waits; gives the cells that failed, and why."""
        try:
            with signal_handler(_interrupt, SCHEDULER_SIGNALS), self._progress:
                while self._waiting or self._running:
                    self._submit_ready()
                    time.sleep(_POLL_SECONDS)
                    for cell in [cell for cell, one in self._running.items() if one.done()]:
                        self._collect(cell, self._running.pop(cell))
                    self._progress.refresh()
        except KeyboardInterrupt:
            self._progress.note("stopping: what runs is asked to save")
            self._workers.stop()
            raise Stopped("stopped and saved; the same command goes on") from None
        return self._failed

    def _submit_ready(self) -> None:
        """Start what can be started, in order; give up what rests on something that failed."""
        lost = {cell.folder for cell in self._failed}
        for cell in list(self._waiting):
            broken = [need for need in cell.needs if need in lost]
            if broken:
                self._waiting.remove(cell)
                self._fail(cell, f"it needs {broken[0]}, which failed")
                lost.add(cell.folder)
            elif len(self._running) < self._workers.slots and self._done.issuperset(cell.needs):
                self._waiting.remove(cell)
                self._progress.started(cell)
                self._running[cell] = self._workers.submit(cell)

    def _collect(self, cell: StudyCell, handle: CellFuture) -> None:
        error = handle.exception()
        if error is None:
            self._ledger.finish(cell)
            self._done.add(cell.folder)
            self._progress.finished(cell, self._ledger.result(cell))
            return
        if isinstance(error, Stopped | KeyboardInterrupt):
            raise KeyboardInterrupt
        why = one_line(error)
        self._attempts[cell] += 1
        # What a user must mend does not mend itself by another try.
        if isinstance(error, MedstrataError) or self._attempts[cell] == _ATTEMPTS:
            self._fail(cell, why)
        else:
            self._progress.retried(cell, why)
            self._waiting.append(cell)

    def _fail(self, cell: StudyCell, why: str) -> None:
        self._failed[cell] = why
        self._progress.failed(cell, why)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A scheduler's signals end a study as Ctrl-C does."""
    raise KeyboardInterrupt
