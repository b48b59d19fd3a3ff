"""The metrics by name, what is to be known of each, and those of the user's own.

Shape letters: R resamples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.resampling import Floats, Resamples, original_sample
from medstrata.metrics.scores import (
    accuracy,
    average_precision,
    balanced_accuracy,
    brier,
    ece,
    macro_auroc,
    macro_f1,
    quadratic_kappa,
    sensitivity_at_90,
)
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.import_path import load_object

# A score for every resample: (target, probability, kind, resamples) -> (R,), NaN where nothing is
# defined; the arguments are those of `macro_auroc`.
_Compute = Callable[[NDArray[Any], NDArray[Any], TaskKind, Resamples], Floats]


@dataclass(frozen=True)
class Metric:
    """A score, and what is to be known of it.

    Attributes:
        compute: Scores every resample.
        label: As a reader knows it.
        kinds: The kinds of task for which it has a meaning.
        lower_is_better: Whether 0 is perfect.
        reads_order: Whether nothing changes it that keeps the order of the probabilities.
    """

    compute: _Compute
    label: str
    kinds: tuple[TaskKind, ...] = get_args(TaskKind)
    lower_is_better: bool = False
    reads_order: bool = False

    def __call__(
        self,
        target: NDArray[Any],
        probability: NDArray[Any],
        kind: TaskKind,
        resamples: Resamples | None = None,
    ) -> Floats:
        """Score every resample, (R,); without `resamples` the samples as they are, once, (1,)."""
        return self.compute(target, probability, kind, resamples or original_sample(len(target)))


_ONE_CLASS: tuple[TaskKind, ...] = ("binary", "multiclass", "ordinal")

METRICS: dict[str, Metric] = {
    "macro_auroc": Metric(macro_auroc, "macro AUROC", reads_order=True),
    "average_precision": Metric(average_precision, "average precision", reads_order=True),
    "sensitivity_at_90": Metric(
        sensitivity_at_90,
        "sensitivity at 90\N{NARROW NO-BREAK SPACE}% specificity",
        reads_order=True,
    ),
    "macro_f1": Metric(macro_f1, "macro F1"),
    # Kappa wants ordered classes; accuracy wants one class per sample.
    "quadratic_kappa": Metric(quadratic_kappa, "quadratic kappa", ("ordinal",)),
    "accuracy": Metric(accuracy, "accuracy", _ONE_CLASS),
    "balanced_accuracy": Metric(balanced_accuracy, "balanced accuracy", _ONE_CLASS),
    "brier": Metric(brier, "Brier score", lower_is_better=True),
    "ece": Metric(ece, "expected calibration error", lower_is_better=True),
}

LOWER_IS_BETTER = frozenset(name for name, metric in METRICS.items() if metric.lower_is_better)

_DEFAULTS: Mapping[TaskKind, str] = {
    "binary": "macro_auroc",
    "multiclass": "macro_f1",
    "multilabel": "macro_auroc",
    "ordinal": "quadratic_kappa",
}


def find_metric(name: str) -> Metric:
    """One of `METRICS`, or a function of the user's own by its import path.

    Raises:
        ValueError: There is none of this name.
        MedstrataError: The import path leads to no function.
    """
    if name in METRICS:
        return METRICS[name]
    if ":" not in name:
        raise ValueError(
            f"unknown metric {name!r}: use one of {', '.join(METRICS)}, or package.module:function"
        )
    function = load_object(name, "metric")
    if not callable(function):
        raise MedstrataError(f"metric {name} is a {type(function).__name__}, not a function")
    return Metric(_by_resample(name, function), name)


def _by_resample(name: str, function: Callable[..., Any]) -> _Compute:
    """A function (target, probability, weights) -> score, called for each resample."""

    def compute(
        target: NDArray[Any],
        probability: NDArray[Any],
        kind: TaskKind,  # noqa: ARG001  (the user's function is of one kind)
        resamples: Resamples,
    ) -> Floats:
        try:
            scores = [
                float(function(target, probability, counts[resamples.groups].astype(np.float64)))
                for counts in resamples.counts
            ]
        except Exception as error:  # whatever the user's code raises
            cause = one_line(error, named=True)
            raise MedstrataError(f"metric {name} failed ({cause}); mend it there") from error
        return np.array(scores)

    return compute


def primary_metric(kind: TaskKind, wanted: str | None = None) -> str:
    """Name of the metric that chooses checkpoints and heads the report for a kind of task.

    Args:
        kind: Of the task.
        wanted: A metric that the user prefers, or its import path; None takes that of the kind.

    Raises:
        ValueError: The kind is unknown, or the metric is, or it does not fit the kind.
        MedstrataError: The import path leads to no function.
    """
    _check_kind(kind)
    if wanted is None:
        return _DEFAULTS[kind]
    check_fit(wanted, kind)
    return wanted


def metrics_of_kind(kind: TaskKind) -> tuple[str, ...]:
    """Names of the metrics that have a meaning for a kind of task, in the order of `METRICS`.

    Raises:
        ValueError: The kind is unknown.
    """
    _check_kind(kind)
    return tuple(name for name, metric in METRICS.items() if kind in metric.kinds)


def _check_kind(kind: TaskKind) -> None:
    if kind not in _DEFAULTS:
        raise ValueError(f"unknown kind of task {kind!r}: use one of {', '.join(_DEFAULTS)}")


def check_fit(name: str, kind: TaskKind) -> None:
    """Raise ValueError unless there is such a metric, and it has a meaning for the kind of task."""
    if kind not in find_metric(name).kinds:
        raise ValueError(
            f"{name} has no meaning for {kind} tasks: use one of {', '.join(metrics_of_kind(kind))}"
        )
