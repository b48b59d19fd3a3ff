"""Cells run as jobs of a cluster, through submitit."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from medstrata.runtime.errors import MedstrataError, Stopped
from medstrata.runtime.optional import import_optional
from medstrata.studies.plan import StudyCell
from medstrata.studies.settings import StudySettings
from medstrata.studies.workers import CellFuture, run_logged


class ClusterWorkers:
    """Jobs of a cluster; one whose node is taken away is put back into the queue.

    Args:
        settings: The study.
        out: Its folder, which every node must see.
        root: Folder that relative paths start from.
        cluster: submitit's name: `slurm`, or `local` for processes of this machine.
        options: submitit's parameters, such as `slurm_partition` or `timeout_min`.
        jobs: How many jobs may wait or run at a time.
    """

    def __init__(
        self,
        settings: StudySettings,
        out: Path,
        root: Path,
        cluster: str,
        options: Mapping[str, Any],
        jobs: int,
    ) -> None:
        submitit = import_optional("submitit", "a cluster", "slurm")
        self.slots = jobs
        self._study = settings, out.resolve(), root.resolve()
        self._executor = submitit.AutoExecutor(folder=out / "logs" / "cluster", cluster=cluster)
        try:
            self._executor.update_parameters(**options)
        except (TypeError, NameError) as error:
            raise MedstrataError(f"cluster options: {error}") from error
        self._jobs: list[Any] = []

    def submit(self, cell: StudyCell) -> CellFuture:
        """Hand a cell over."""
        job: Any = self._executor.submit(ClusterCell(cell, *self._study))
        self._jobs.append(job)
        handle: CellFuture = job
        return handle

    def stop(self) -> None:
        """Cancel what waits or runs; a cut cell goes on when the study is started again."""
        for job in self._jobs:
            if not job.done():
                job.cancel()


class ClusterCell:
    """A cell as a job, which before its node is taken away asks to be queued again."""

    def __init__(self, cell: StudyCell, settings: StudySettings, out: Path, root: Path) -> None:
        self._work = cell, settings, out, root

    def __call__(self) -> None:
        """Run the cell; pre-training saves the step it is at before it asks to be queued again."""
        requeue: Any = signal.getsignal(signal.SIGUSR2)  # submitit's
        leaving = threading.Event()

        def leave(number: int, frame: FrameType | None) -> None:
            leaving.set()
            if signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
                requeue(number, frame)
            signal.raise_signal(signal.SIGUSR1)  # taken by what can stop and save

        signal.signal(signal.SIGUSR2, leave)
        try:
            run_logged(*self._work)
        except Stopped:
            if leaving.is_set():
                requeue(signal.SIGUSR2, None)
            raise

    def checkpoint(self) -> Any:
        """What to queue again: the same cell, which goes on from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
