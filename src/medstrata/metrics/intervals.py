"""Scores of predictions by name, and their intervals by resampling patients.

Shape letters: N samples, M columns of probability, R resamples, P patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.defaults import LEVEL, RESAMPLES
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import check_fit, find_metric
from medstrata.metrics.resampling import Floats, Resamples, resample_patients

# Rounding of a softmax in low precision.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its percentile interval.

    Attributes:
        value: The score of the samples as they are.
        low: Lower end.
        high: Upper end.
        resamples: Resamples the ends come from: those asked for, less those that have no value.
    """

    value: float
    low: float
    high: float
    resamples: int


def score(name: str, target: NDArray[Any], probability: NDArray[Any], kind: TaskKind) -> float:
    """Score predictions.

    Args:
        name: One of `metrics_of_kind(kind)`, or an import path.
        target: Class numbers 0..K-1, shape (N,); multilabel: 0, 1 or NaN (unknown), shape (N, M).
        probability: Shape (N, M), in [0, 1]: binary M = 1, the probability of class 1; multiclass
            and ordinal one column per class; multilabel one column per label.
        kind: Of the task.

    Returns:
        The score, a mean over the classes or labels for which it is defined.

    Raises:
        ValueError: A name is unknown or does not fit the kind, an array has the wrong shape or
            values, or the score is not defined for any class.
    """
    _check(name, target, probability, kind)
    value = float(find_metric(name)(target, probability, kind)[0])
    if np.isnan(value):
        raise ValueError(
            f"{name} is not defined for these {len(target)} samples: they are all of one class, "
            "or no label is known; score samples of at least two classes"
        )
    return value


def resampled_scores(
    name: str,
    target: NDArray[Any],
    probability: NDArray[Any],
    kind: TaskKind,
    resamples: Resamples,
) -> Floats:
    """Score predictions on every resample; with the same ones, scores of two models are paired.

    Args:
        name: One of `metrics_of_kind(kind)`, or an import path.
        target: As for `score`.
        probability: As for `score`.
        kind: Of the task.
        resamples: Of the samples, such as `resampling.resample_patients` gives.

    Returns:
        A score for each resample, shape (R,); NaN where it is not defined for any class (see the
        top of `metrics/scores.py`).

    Raises:
        ValueError: The arrays do not fit, as for `score`.
    """
    _check(name, target, probability, kind)
    return find_metric(name)(target, probability, kind, resamples)


def bootstrap_interval(
    name: str,
    target: NDArray[Any],
    probability: NDArray[Any],
    kind: TaskKind,
    patient_ids: NDArray[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Score predictions of one model, with a percentile interval over patients.

    The interval tells how the score would vary with other test patients, the model staying as it
    is.

    Args:
        name: One of `metrics_of_kind(kind)`, or an import path.
        target: As for `score`.
        probability: As for `score`.
        kind: Of the task.
        patient_ids: Whose each sample is, shape (N,); any values that can be sorted.
        resamples: How often as many patients are drawn as there are, 1 or more.
        seed: Of the resampling, 0 or more.
        level: Share of the resamples inside the interval, above 0 and below 1.

    Returns:
        Value, interval and number of resamples used: one in which the score is not defined for
        any class (see the top of `metrics/scores.py`) is dropped.

    Raises:
        ValueError: As for `score`; or the ids do not match the samples, `resamples` or `level` is
            out of range, or no resample has a value.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    value = score(name, target, probability, kind)
    drawn = resample_patients(patient_ids, len(target), resamples=resamples, seed=seed)
    scores = resampled_scores(name, target, probability, kind, drawn)
    low, high, used = percentile_ends(scores, level)
    return Interval(value=value, low=low, high=high, resamples=used)


def mean_of_models(scores: Sequence[Floats] | Sequence[float]) -> Floats:
    """Mean of what stands for each model, such as a seed; NaN where one of them is.

    Raises:
        ValueError: There is no model.
    """
    if not len(scores):
        raise ValueError("no predictions to score: give one array or more, such as one a seed")
    return np.asarray(np.mean(scores, axis=0))


def percentile_ends(
    resampled: Floats, level: float, method: Literal["linear", "inverted_cdf"] = "linear"
) -> tuple[float, float, int]:
    """Ends of the middle `level` of the resamples that have a value, and their number.

    Args:
        resampled: A value for each resample, NaN where it has none, shape (R,).
        level: Share of the values between the ends, above 0 and below 1.
        method: How an end is found between two values: on the line that joins them, or at the upper
            one, which is safe where values are infinite.

    Raises:
        ValueError: `level` is not between 0 and 1, or no resample has a value.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: it must lie above 0 and below 1")
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        raise ValueError(
            f"the score is not defined in any of {len(resampled)} resamples: a class has too few "
            "patients; test on more patients, or raise resamples"
        )
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], method=method)
    return float(low), float(high), len(defined)


def _check(name: str, target: NDArray[Any], probability: NDArray[Any], kind: TaskKind) -> None:
    check_fit(name, kind)
    count = len(target)
    shape = {
        "binary": (count, 1),
        "multilabel": np.shape(target),
        "multiclass": (count, *np.shape(probability)[1:2]),
        "ordinal": (count, *np.shape(probability)[1:2]),
    }[kind]
    if np.ndim(probability) != 2 or np.shape(probability) != shape or not count:
        raise ValueError(
            f"probabilities of shape {np.shape(probability)} do not go with targets of shape "
            f"{np.shape(target)} in a {kind} task: give one row per sample, one or more samples, "
            "and one column per class or label (binary: class 1 alone)"
        )
    if not np.all((probability >= -_TOLERANCE) & (probability <= 1 + _TOLERANCE)):
        raise ValueError(
            "probabilities must lie in 0..1 and be finite: apply the sigmoid or softmax to logits, "
            "and look for a diverged model"
        )
    if kind == "multilabel":
        valid = np.isin(target, (0, 1)) | np.isnan(target)
    else:
        valid = np.isin(target, np.arange(2 if kind == "binary" else shape[1]))
    if not valid.all():
        raise ValueError(
            f"targets of a {kind} task hold {np.asarray(target)[~valid][0]}: use class numbers "
            "from 0 and leave out samples of unknown class (multilabel: 0, 1 or NaN)"
        )
