"""A linear layer on frozen features: the optimum, what standardises, what validation chooses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medstrata.data.labels import make_task
from medstrata.data.store.store import Store
from medstrata.evaluation.linear_probe import (
    PENALTIES,
    best_trial,
    fit_frozen,
    fit_linear,
    fit_probe,
    predict_linear,
)
from medstrata.evaluation.rows import SplitRows, labelled_parts
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import primary_metric
from medstrata.models.features import StoredFeatures
from medstrata.runs.trackers import tracking


@pytest.fixture
def parts(tiny_store: Store) -> SplitRows:
    return labelled_parts(tiny_store, make_task(tiny_store, "grade"), 1.0, 0)


def features_of_grade(store: Store) -> np.ndarray:  # type: ignore[type-arg]
    features = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    features[:, 0] += make_task(store, "grade").targets
    return features


def stored(store: Store, pooled: np.ndarray) -> StoredFeatures:  # type: ignore[type-arg]
    return StoredFeatures(store.rows(), {"stage1": pooled}, pooled)


def test_validation_chooses_the_penalty(tiny_store: Store, parts: SplitRows) -> None:
    task = make_task(tiny_store, "grade")
    features = stored(tiny_store, features_of_grade(tiny_store))
    trials = fit_probe(features, "pooled", task, parts, primary_metric(task.kind))
    scores = [
        score("quadratic_kappa", task.targets[parts.val], trial.val, "ordinal") for trial in trials
    ]
    best = best_trial(trials)
    assert scores[best] == max(scores) > min(scores)
    assert [trial.val_score for trial in trials] == pytest.approx(scores)
    assert [trial.penalty for trial in trials] == list(PENALTIES)
    # Of equal scores the strongest penalty: the least that the labels ask for.
    assert best == scores.index(max(scores))


@pytest.mark.parametrize(("images", "width"), [(25, 60), (80, 12)])
@pytest.mark.parametrize("penalty", [300.0, 1.0])
def test_optimum_is_that_of_a_plain_ridge_logistic(images: int, width: int, penalty: float) -> None:
    """Fewer images than features are solved in the span of the images, which changes nothing."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(images, width)).astype(np.float32)
    targets = (features[:, 0] + generator.normal(size=images) > 0).astype(np.int64)
    ((_, head, _),) = fit_linear(
        torch.from_numpy(features), torch.from_numpy(targets), "binary", 1, [penalty]
    )
    plain = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(
        features.astype(np.float64), targets
    )
    np.testing.assert_allclose(head.weight.numpy(), plain.coef_, atol=2e-4)
    np.testing.assert_allclose(head.bias.numpy(), plain.intercept_, atol=2e-4)


def test_all_training_images_standardise_labelled_or_not(
    tiny_store: Store, parts: SplitRows
) -> None:
    few = SplitRows(parts.train[:6], parts.val, parts.test, parts.standardising)
    features, task = features_of_grade(tiny_store), make_task(tiny_store, "grade")
    trials = fit_probe(stored(tiny_store, features), "pooled", task, few, primary_metric(task.kind))
    mean, std = trials[0].head.mean, trials[0].head.std
    assert mean is not None
    assert std is not None
    every = features[tiny_store.rows("train")]
    np.testing.assert_allclose(mean.numpy(), every.mean(0), atol=1e-6)
    np.testing.assert_allclose(std.numpy(), every.std(0), atol=1e-6)


def test_validation_chooses_the_layer_too_and_a_repeated_one_is_tried_once(
    tiny_store: Store, parts: SplitRows, tmp_path: Path
) -> None:
    task = make_task(tiny_store, "grade")
    noise = np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32)
    telling = features_of_grade(tiny_store)
    telling[:, 1] = 9 * task.targets
    stages = {"stage1": telling, "stage2": noise}
    features = StoredFeatures(tiny_store.rows(), stages, noise)
    with tracking((), tmp_path, {}, step=0) as track:
        fitted = fit_frozen(
            features,
            task,
            parts,
            primary_metric(task.kind),
            features.layers_of("best"),
            tmp_path,
            track,
        )
    assert fitted.layer in ("stage1", "all")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3 * len(PENALTIES)  # pooled is stage2
    test = torch.from_numpy(features.layer(fitted.layer)[parts.test])
    np.testing.assert_array_equal(predict_linear(fitted.head, test, task.kind), fitted.test)


def test_an_end_of_the_penalties_is_said(
    tiny_store: Store, parts: SplitRows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Features that say nothing are read best by the strongest penalty."""
    task = make_task(tiny_store, "grade")
    constant = np.ones((60, 4), dtype=np.float32)
    features = stored(tiny_store, constant)
    with tracking((), tmp_path, {}, step=0) as track:
        fit_frozen(features, task, parts, primary_metric(task.kind), ["pooled"], tmp_path, track)
    assert "validation chose the strongest penalty on offer" in capsys.readouterr().err
