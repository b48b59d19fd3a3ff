"""Cells run in processes of this machine, each with its share of the cores and GPUs."""

import os
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.machine import default_threads
from medstrata.studies.plan import StudyCell
from medstrata.studies.settings import StudySettings

_WATCH_SECONDS = 0.5


class CellFuture(Protocol):
    """A cell that was handed over."""

    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def exception(self) -> BaseException | None:
        """Why it failed, or None; only when it has ended."""


class Workers(Protocol):
    """Takes cells and runs them."""

    slots: int

    def submit(self, cell: StudyCell) -> CellFuture:
        """Hand a cell over."""

    def stop(self) -> None:
        """Ask what runs to save and end, and wait for it."""


def run_logged(cell: StudyCell, settings: StudySettings, out: Path, root: Path) -> None:
    """Run a cell with everything it prints in its log; one process at a time for one cell.

    Args:
        cell: What to do.
        settings: The study it belongs to.
        out: Folder of the study.
        root: Folder that relative paths in the settings start from.
    """
    from medstrata.runtime.memory import keep_freed_memory
    from medstrata.studies.cell import run_cell

    if cell.kind != "prepare":
        keep_freed_memory()
    log = log_path(out, cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(log.with_suffix(".lock"), timeout=60), log.open("a", encoding="utf-8") as file:
        file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {cell}\n")
        file.flush()
        before = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            run_cell(cell, settings, out, root)
        except Exception:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(before[0], 1)
            os.dup2(before[1], 2)
            os.close(before[0])
            os.close(before[1])


def log_path(out: Path, cell: StudyCell) -> Path:
    """Where a cell's words go."""
    return out / "logs" / f"{cell.folder}.log"


class LocalWorkers:
    """Processes of this machine, each with its share of the cores and a GPU of its own, if any.

    Args:
        settings: The study.
        out: Its folder.
        root: Folder that relative paths start from.
        jobs: How many processes.

    Raises:
        MedstrataError: the script that is run has no guard, so that each process would run it anew.
    """

    def __init__(self, settings: StudySettings, out: Path, root: Path, jobs: int) -> None:
        _require_guard()
        self.slots = jobs
        self._study = settings, out, root
        self._pool = self._make_pool()

    def submit(self, cell: StudyCell) -> CellFuture:
        """Hand a cell over; a pool that a crash has broken is replaced."""
        try:
            return self._pool.submit(_run_here, cell, *self._study)
        except RuntimeError:
            self._pool = self._make_pool()
            return self._pool.submit(_run_here, cell, *self._study)

    def stop(self) -> None:
        """Ask what runs to save and end, and wait for it."""
        for process in active_children():
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make_pool(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        started = context.Value("i", 0)
        return ProcessPoolExecutor(
            self.slots, context, _init_worker, (self.slots, started, os.getpid(), _gpus())
        )


def _require_guard() -> None:
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) or ""
    if getattr(main, "__spec__", None) is not None or not script.endswith(".py"):
        return
    if "__name__" not in Path(script).read_text(encoding="utf-8", errors="replace"):
        raise MedstrataError(
            f"{script} runs a study, whose processes each import it again: put the call under "
            '`if __name__ == "__main__":`'
        )


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    return every[: torch.cuda.device_count()]


def _init_worker(jobs: int, started: Any, parent: int, gpus: list[str]) -> None:
    """Set a worker up, before it imports PyTorch: cores, GPU, and an end with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    with started:
        place = started.value
        started.value += 1
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, default_threads() // jobs)))
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]


def _exit_with_parent(parent: int) -> None:
    """A parent that was killed leaves no worker behind that writes into the same folders."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _run_here(cell: StudyCell, settings: StudySettings, out: Path, root: Path) -> None:
    # Between cells Ctrl-C is the parent's affair; within one it stops the work.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_logged(cell, settings, out, root)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
