"""The metrics from scikit-learn or written out plainly, and predictions to compare them on."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import metrics_of_kind
from medstrata.metrics.resampling import Resamples

KINDS: tuple[TaskKind, ...] = ("binary", "multiclass", "multilabel", "ordinal")
CASES = [(name, kind) for kind in KINDS for name in metrics_of_kind(kind)]
Arrays = tuple[NDArray[Any], NDArray[Any]]


def predictions(kind: TaskKind, count: int = 60, seed: int = 0) -> Arrays:
    """Targets and probabilities better than chance, rounded so that many are tied."""
    generator = np.random.default_rng(seed)
    columns = {"binary": 1, "multiclass": 4, "multilabel": 3, "ordinal": 5}[kind]
    logits = generator.normal(size=(count, columns))
    if kind in ("multiclass", "ordinal"):
        target = generator.integers(columns, size=count)
        target[:columns] = np.arange(columns)
        powers = np.exp(logits + np.eye(columns)[target])
        return target, np.round(powers / powers.sum(axis=1, keepdims=True), 2)
    labels = generator.random((count, columns)) < 0.4
    labels[:2] = [[False], [True]]
    probability = np.round(1 / (1 + np.exp(0.3 - logits - labels)), 2)
    if kind == "binary":
        return labels[:, 0].astype(np.int64), probability
    target = labels.astype(np.float32)
    target[generator.random(target.shape) < 0.1] = np.nan
    return target, probability


def per_label(compute: Callable[[Any, Any], float], target: Any, probability: Any) -> float:
    """Mean over the labels that have both values, each over its known samples."""
    values = []
    for truth, column in zip(target.T, probability.T, strict=True):
        known = ~np.isnan(truth)
        if len(np.unique(truth[known])) == 2:
            values.append(compute(truth[known].astype(np.int64), column[known]))
    return float(np.mean(values))


def ranked(compute: Callable[[Any, Any], float]) -> Callable[[Any, Any, TaskKind], float]:
    def plain(target: Any, probability: Any, kind: TaskKind) -> float:
        if kind == "binary":
            return compute(target, probability[:, 0])
        if kind == "multilabel":
            return per_label(compute, target, probability)
        return per_label(compute, np.eye(probability.shape[1])[target], probability)

    return plain


def classes_of(probability: Any, kind: TaskKind) -> Any:
    return (
        (probability[:, 0] >= 0.5).astype(int) if kind == "binary" else probability.argmax(axis=1)
    )


def plain_f1(target: Any, probability: Any, kind: TaskKind) -> float:
    if kind == "multilabel":
        return per_label(
            lambda truth, column: sklearn_metrics.f1_score(truth, column >= 0.5),
            target,
            probability,
        )
    return float(
        sklearn_metrics.f1_score(
            target, classes_of(probability, kind), labels=np.unique(target), average="macro"
        )
    )


def plain_brier(target: Any, probability: Any, kind: TaskKind) -> float:
    if kind in ("multiclass", "ordinal"):
        return float(np.square(probability - np.eye(probability.shape[1])[target]).sum(1).mean())
    return ranked(sklearn_metrics.brier_score_loss)(target, probability, kind)


def plain_ece(target: Any, probability: Any, kind: TaskKind) -> float:
    def one(truth: Any, confidence: Any) -> float:
        error = 0.0
        for number in range(15):
            low = -1.0 if number == 0 else number / 15
            inside = (confidence > low) & (confidence <= (number + 1) / 15)
            if inside.any():
                error += inside.mean() * abs(truth[inside].mean() - confidence[inside].mean())
        return error

    if kind in ("multiclass", "ordinal"):
        right = probability.argmax(axis=1) == target
        return one(right, probability.max(axis=1))
    return ranked(one)(target, probability, kind)


def plain_sensitivity(target: Any, column: Any) -> float:
    false_positives, sensitivity, _ = sklearn_metrics.roc_curve(
        target, column, drop_intermediate=False
    )
    return float(sensitivity[false_positives <= 0.1].max())


PLAIN: dict[str, Callable[[Any, Any, TaskKind], float]] = {
    "macro_auroc": ranked(sklearn_metrics.roc_auc_score),
    "average_precision": ranked(sklearn_metrics.average_precision_score),
    "sensitivity_at_90": ranked(plain_sensitivity),
    "macro_f1": plain_f1,
    "quadratic_kappa": lambda target, probability, kind: sklearn_metrics.cohen_kappa_score(
        target, classes_of(probability, kind), weights="quadratic"
    ),
    "accuracy": lambda target, probability, kind: sklearn_metrics.accuracy_score(
        target, classes_of(probability, kind)
    ),
    "balanced_accuracy": lambda target, probability, kind: sklearn_metrics.recall_score(
        target, classes_of(probability, kind), labels=np.unique(target), average="macro"
    ),
    "brier": plain_brier,
    "ece": plain_ece,
}


def counted(*counts: Any) -> Resamples:
    """Resamples of single samples: a row of counts each."""
    rows = np.asarray(counts)
    return Resamples(rows, np.arange(rows.shape[1]))
