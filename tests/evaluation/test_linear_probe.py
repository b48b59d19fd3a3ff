"""The strength of the penalty of a linear layer is chosen by validation."""

import numpy as np
import pytest

from medstrata.data.labels import make_task
from medstrata.data.store.store import Store
from medstrata.evaluation.linear_probe import fit_probe
from medstrata.evaluation.rows import labelled_parts
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import metric_for


def test_validation_chooses_the_penalty(tiny_store: Store) -> None:
    task = make_task(tiny_store, "grade")
    parts = labelled_parts(tiny_store, task, 1.0, 0)
    features = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    features[:, 0] += task.targets
    trials, best = fit_probe(features, tiny_store.rows(), task, parts, metric_for(task.kind))
    scores = [
        score("quadratic_kappa", task.targets[parts.val], trial.val, "ordinal") for trial in trials
    ]
    assert scores[best] == max(scores) > min(scores)
    assert [trial.val_score for trial in trials] == pytest.approx(scores)
