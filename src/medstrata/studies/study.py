"""The low-label study as one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from medstrata.data.store.store import Store
from medstrata.pretraining.recipes import RECIPES
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.frames import difference_frame, read_comparisons, score_frame
from medstrata.report.page import write_report
from medstrata.report.read.results import Finetune
from medstrata.runtime.console import say
from medstrata.studies.cluster import ClusterWorkers
from medstrata.studies.runner import run_cells
from medstrata.studies.settings import StudySettings
from medstrata.studies.study_file import as_study
from medstrata.studies.workers import LocalWorkers, Workers


@dataclass(frozen=True)
class Study:
    """A study that has been run.

    Attributes:
        folder: Where its runs, logs and report are.
        baselines: Arms that others are held against, beside scratch, imagenet and moco.
    """

    folder: Path
    baselines: tuple[str, ...] = ()

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def table(self) -> pd.DataFrame:
        """Scores with intervals; see `medstrata.report.compare.frames.score_frame`."""
        return score_frame(self._comparisons)

    def differences(self) -> pd.DataFrame:
        """Arms against baselines; see `report.compare.frames.difference_frame`."""
        return difference_frame(self._comparisons, self.baselines)

    @cached_property
    def _comparisons(self) -> tuple[Comparison[Finetune], ...]:
        return read_comparisons([self.folder])


def study(
    store: Store | str | Path,
    task: str,
    arms: Mapping[str, str | None],
    out: Path | str,
    *,
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    seeds: int = 3,
    jobs: int = 1,
    **settings: Any,
) -> Study:
    """Compare encoders on one data set: the same labels, in several shares and draws, and seeds.

    Started again it goes on where it was. Cells run in processes of their own, so a script that
    calls this needs the guard `if __name__ == "__main__":` around the call.

    Args:
        store: A store with labels and splits, or its path.
        task: What is predicted; see `medstrata.data.labels.make_task`.
        arms: Name -> None (scratch), `imagenet`, `imagenet=FILE`, a weights file, a pre-training
            run, or the name of a recipe to be pre-trained first.
        out: Folder of the study.
        fractions: Shares of the labels, each above 0 up to 1.
        seeds: Seeds of pre-training, of the weights of `scratch` and of fine-tuning; each is scored
            with every draw of the labels.
        jobs: Cells that run at a time.
        settings: Anything else that `StudySettings` knows, such as `backbone="resnet18"`.

    Returns:
        The study: its tables, and its report.

    Raises:
        MedstrataError: cells failed (the line names them; the others are finished).
        ValueError: a setting is wrong.
    """
    path = store.path if isinstance(store, Store) else Path(store)
    written = {
        "data": {path.name.removesuffix(".store"): {"store": str(path), "task": task}},
        "arms": {name: _arm(encoder) for name, encoder in arms.items()},
        "fractions": list(fractions),
        "seeds": seeds,
        **settings,
    }
    return run_study(as_study(written), out, jobs=jobs)


def _arm(encoder: str | None) -> dict[str, str]:
    if encoder in RECIPES:
        return {"recipe": str(encoder)}
    return {"encoder": encoder or "scratch"}


def run_study(
    settings: StudySettings,
    out: Path | str,
    *,
    root: Path | str = ".",
    jobs: int = 1,
    cluster: str | None = None,
    cluster_options: Mapping[str, Any] | None = None,
    redo: bool = False,
) -> Study:
    """Run a study and write its report.

    Args:
        settings: What to run.
        out: Folder of the study: one run folder for each cell, logs, report.
        root: Folder that relative paths in the settings start from.
        jobs: Cells that run at a time; on a machine with several GPUs, one GPU each.
        cluster: `slurm` to run cells as jobs of a cluster, `local` to try that on this machine.
        cluster_options: Parameters of the jobs, as submitit names them.
        redo: Make cells again that were finished with other settings.

    Returns:
        The study: its tables, and its report.

    Raises:
        MedstrataError: cells failed, or finished ones have other settings.
    """
    out, root = Path(out), Path(root)
    workers: Workers
    if cluster is None:
        workers = LocalWorkers(settings, out, root, jobs)
    else:
        workers = ClusterWorkers(settings, out, root, cluster, cluster_options or {}, jobs)
    try:
        run_cells(settings, out, workers, root=root, redo=redo)
    finally:
        workers.stop()
    done = Study(out, tuple(settings.baselines))
    write_report([out], done.report, settings.title, figures=True, baselines=done.baselines)
    say(f"report in {done.report}")
    return done
