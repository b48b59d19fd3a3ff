"""Metrics by name, and by the import path of a function of the user's own."""

from pathlib import Path

import numpy as np
import pytest

from medstrata.metrics.intervals import bootstrap_interval, score
from medstrata.metrics.metric import METRICS, find_metric, metrics_of_kind, primary_metric
from medstrata.runtime.errors import MedstrataError
from support.plain_metrics import predictions

PATIENTS = np.repeat(np.arange(20), 3)
SCORES = '''
import numpy as np


def brier(target, probability, weights):
    """The Brier score of a binary task, by weights."""
    return np.average((probability[:, 0] - target) ** 2, weights=weights)


def undefined(target, probability, weights):
    return float("nan")


def broken(target, probability, weights):
    raise ZeroDivisionError("two\\nlines")


nothing = 3
'''


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_scores.py").write_text(SCORES)
    monkeypatch.syspath_prepend(tmp_path)


def test_every_default_is_a_metric_of_its_kind() -> None:
    for kind in ("binary", "multiclass", "multilabel", "ordinal"):
        assert primary_metric(kind) in metrics_of_kind(kind)


def test_the_users_function_is_scored_and_resampled_as_ours_are() -> None:
    target, probability = predictions("binary")
    ours, own = (
        bootstrap_interval(name, target, probability, "binary", PATIENTS, resamples=50, seed=2)
        for name in ("brier", "own_scores:brier")
    )
    assert own.low < own.value < own.high
    assert own.resamples == ours.resamples == 50
    assert (own.value, own.low, own.high) == pytest.approx((ours.value, ours.low, ours.high))
    assert primary_metric("binary", "own_scores:brier") == "own_scores:brier"
    assert primary_metric("binary", "ece") == "ece"


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("auc", ValueError, r"unknown metric 'auc': use one of macro_auroc, .*module:function"),
        ("own_scores:nobody", MedstrataError, "own_scores has no nobody"),
        ("own_scores:nothing", MedstrataError, "is a int, not a function"),
        ("nowhere_at_all:brier", MedstrataError, "no module nowhere_at_all"),
    ],
)
def test_what_is_no_metric_is_refused(name: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        find_metric(name)


def test_a_metric_that_does_not_fit_the_task_is_refused() -> None:
    with pytest.raises(ValueError, match="quadratic_kappa has no meaning for binary tasks"):
        primary_metric("binary", "quadratic_kappa")


def test_a_function_that_fails_is_named_in_one_line() -> None:
    target, probability = predictions("binary")
    with pytest.raises(
        MedstrataError, match=r"own_scores:broken failed \(ZeroDivisionError: two lines\)"
    ):
        score("own_scores:broken", target, probability, "binary")
    with pytest.raises(ValueError, match="own_scores:undefined is not defined for these"):
        score("own_scores:undefined", target, probability, "binary")


def test_labels_are_those_of_a_reader() -> None:
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    assert find_metric("own_scores:brier").label == "own_scores:brier"
