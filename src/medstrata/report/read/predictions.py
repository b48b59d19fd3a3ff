"""Test predictions of runs, row by row on the same images; what is computed of them.

Shape letters: N test images, M columns of probability, R resamples.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.intervals import mean_of_models, percentile_ends, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import METRICS, metrics_of_kind
from medstrata.metrics.resampling import Floats, Resamples, resample_patients
from medstrata.report.read.facts import EvaluationRun, ReportNote, TaskFacts
from medstrata.report.read.results import Finetune, Probe
from medstrata.report.render.formatting import metric_name, run_names, score_text
from medstrata.runtime.console import progress_bar
from medstrata.runtime.errors import one_line

RunT = TypeVar("RunT", bound=EvaluationRun)

_KINDS = get_args(TaskKind)
# Between a score as recorded and as computed again from probabilities kept in single precision.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of runs that were tested on the same images.

    Attributes:
        kind: Of the task.
        target: As in `metrics/scores.py`, (N,) or (N, M); rows in the order of the sample ids.
        patient_ids: Whose each image is, (N,).
        probability: Name of a run -> (N, M).
        notes: The runs left out, and why.
    """

    kind: TaskKind
    target: NDArray[Any]
    patient_ids: NDArray[Any]
    probability: Mapping[str, Floats]
    notes: tuple[ReportNote, ...]
    _scores: dict[tuple[str, str], Floats] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def resamples(self) -> Resamples:
        """The samples as they are, then the resamples of the patients, the same for every run."""
        drawn = resample_patients(self.patient_ids, len(self.patient_ids))
        return Resamples(
            np.concatenate([np.ones_like(drawn.counts[:1]), drawn.counts]), drawn.groups
        )

    def cover(self, runs: Sequence[EvaluationRun]) -> bool:
        """Whether there is a run, and every one has predictions."""
        return bool(runs) and all(run.files.name in self.probability for run in runs)

    def covered(self, runs: Sequence[RunT]) -> list[RunT]:
        """The runs that have predictions."""
        return [run for run in runs if run.files.name in self.probability]

    def of(self, runs: Sequence[EvaluationRun]) -> list[Floats]:
        """Probabilities of each run, (N, M)."""
        return [self.probability[run.files.name] for run in runs]

    def knows(self, metric: str) -> bool:
        """Whether the metric can be computed for this kind of task."""
        return self.kind in _KINDS and metric in metrics_of_kind(self.kind)

    def scores(self, metric: str, runs: Sequence[EvaluationRun]) -> list[Floats]:
        """Scores of each run, as they are and then of each resample: (1 + R,) a run.

        NaN stands for what is not defined.
        """
        for run in runs:
            key = (metric, run.files.name)
            if key not in self._scores:
                (probability,) = self.of([run])
                scored = METRICS[metric](self.target, probability, self.kind, self.resamples)
                self._scores[key] = scored
        return [self._scores[metric, run.files.name] for run in runs]

    def interval(self, metric: str, runs: Sequence[EvaluationRun]) -> tuple[float, float] | None:
        """The 95 % interval over patients of the mean score of runs; None where undefined."""
        if not self.cover(runs) or not self.knows(metric):
            return None
        return resampling_interval(mean_of_models(self.scores(metric, runs))[1:])


def resampling_interval(resampled: Floats) -> tuple[float, float] | None:
    """The 95 % interval of resampled values, (R,); None where no resample has one."""
    try:
        low, high, _ = percentile_ends(resampled, LEVEL)
    except ValueError:
        return None
    return low, high


class _UnusableError(Exception):
    """Why the predictions of a run are left out."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The test rows of one run by sample id; `digest` is of the images, patients and targets."""

    patient_ids: NDArray[Any]
    target: NDArray[Any]
    probability: Mapping[str, Floats]  # beginning of the columns' names -> (N, M)
    digest: str


def read_predictions(evaluations: Sequence[EvaluationRun]) -> dict[str, Predictions]:
    """Read what runs of one task on one store predicted for its test images.

    Args:
        evaluations: At least one, of one kind.

    Returns:
        For each read-out (none of kinds that predict nothing), the predictions of the runs that
        agree with most others on which images there are, whose they are and what is true of them;
        a note tells of the rest.
    """
    runs = [run for run in evaluations if isinstance(run, Finetune | Probe)]
    task = evaluations[0].task
    rows_of: dict[str, _Rows] = {}
    left_out: dict[str, list[str]] = {}
    with progress_bar() as bar:
        for run in bar.track(runs, description="reading predictions"):
            try:
                rows_of[run.files.name] = _read(run, task)
            except _UnusableError as reason:
                left_out.setdefault(str(reason), []).append(run.files.name)
    common = Counter(rows.digest for rows in rows_of.values()).most_common(1)
    kept = {name: rows for name, rows in rows_of.items() if rows.digest == common[0][0]}
    odd = [name for name in rows_of if name not in kept]
    if odd:
        why = "its predictions are of other test images, patients or labels than most runs'"
        left_out[why] = odd
    first = next(iter(kept.values()), None)
    # Numbers, which sort in a fraction of the time.
    patients = np.unique(first.patient_ids, return_inverse=True)[1] if first else np.empty(0)
    notes = tuple(
        ReportNote(what=run_names(names), why=f"{why}: left out of what rests on predictions")
        for why, names in left_out.items()
    )
    return {
        beginning: Predictions(
            kind=cast("TaskKind", task.kind),
            target=first.target if first else np.empty(0),
            patient_ids=patients,
            probability={
                name: rows.probability[beginning]
                for name, rows in kept.items()
                if beginning in rows.probability
            },
            notes=notes,
        )
        for beginning in dict.fromkeys(one for run in runs for one in run.read_outs)
    }


def _read(run: Finetune | Probe, task: TaskFacts) -> _Rows:
    if task.kind not in _KINDS:
        raise _UnusableError(f"tasks of kind {task.kind} are not known here")
    path = run.files.folder / "predictions.parquet"
    if not path.is_file():
        raise _UnusableError("no predictions.parquet")
    try:
        rows = _test_rows(path, task, tuple(run.read_outs))
    # pyarrow's errors are OSError, ValueError and KeyError.
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = one_line(error, limit=120)
        raise _UnusableError(f"predictions.parquet cannot be read ({cause})") from error
    if len(rows.target) != run.test.images:
        raise _UnusableError(
            "predictions.parquet holds another number of test images than result.json"
        )
    if run.metric in metrics_of_kind(cast("TaskKind", task.kind)):
        for beginning in run.read_outs:
            recorded = run.score(run.metric, beginning)
            if recorded is not None:
                kind = cast("TaskKind", task.kind)
                _check_score(run.metric, recorded.value, rows, beginning, kind)
    return rows


def _test_rows(path: Path, task: TaskFacts, beginnings: Sequence[str]) -> _Rows:
    multilabel = task.kind == "multilabel"
    target = [f"target.{name}" for name in task.classes] if multilabel else ["target"]
    named = task.classes[1:] if task.kind == "binary" else task.classes
    columns = {one: [f"{one}.{name}" for name in named] for one in beginnings}
    given = [column for some in columns.values() for column in some]
    frame = pd.read_parquet(path, columns=["sample_id", "patient_id", "split", *target, *given])
    frame = frame[frame["split"] == "test"].drop(columns="split")
    frame = frame.astype({"sample_id": str, "patient_id": str})
    frame = frame.astype(dict.fromkeys(target, np.float64 if multilabel else np.int64))
    if frame["sample_id"].duplicated().any():
        raise ValueError("an image is named twice")
    frame = frame.sort_values("sample_id", ignore_index=True)
    truth = frame[target].to_numpy()
    return _Rows(
        patient_ids=frame["patient_id"].to_numpy(),
        target=truth if multilabel else truth[:, 0],
        probability={one: frame[of].to_numpy(dtype=np.float64) for one, of in columns.items()},
        digest=hashlib.sha256(frame.drop(columns=given).to_csv(index=False).encode()).hexdigest(),
    )


def _check_score(metric: str, recorded: float, rows: _Rows, beginning: str, kind: TaskKind) -> None:
    """Predictions must give the score that the run recorded: else one of the two is not its own."""
    try:
        value = score(metric, rows.target, rows.probability[beginning], kind)
    except ValueError as error:
        raise _UnusableError(f"predictions.parquet cannot be scored ({error})") from error
    if abs(value - recorded) > _TOLERANCE:
        raise _UnusableError(
            f"its predictions give {metric_name(metric)} {score_text(value)}, its result.json "
            f"says {score_text(recorded)}"
        )
