"""Form that predicts the label is measured, and chance is called chance."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medstrata.data.audit import shortcuts
from medstrata.data.audit.shortcuts import cue_features, measure, out_of_fold_scores


def planted(patients: int, images: int, strength: float, seed: int, features: int = 3):
    """Features of patients and images, and labels of patients that the first feature tells."""
    generator = np.random.default_rng(seed)
    label = (generator.random(patients) < 0.4).astype(np.int64)
    x = generator.normal(size=(patients * images, features))
    x += np.repeat(generator.normal(size=(patients, features)), images, axis=0)
    x[:, 0] += strength * np.repeat(label, images)
    ids = np.repeat([f"p{number}" for number in range(patients)], images)
    return x, np.repeat(label, images), ids


def test_planted_shortcut_is_strong():
    x, y, ids = planted(100, 3, 20.0, 0)
    found = measure("finding", "intensity", x, y, ids, "binary")
    assert found.auroc.value > 0.99
    assert found.auroc.low <= found.auroc.value <= found.auroc.high
    assert (found.verdict, found.images, found.patients) == ("strong shortcut", 300, 100)


def test_spread_is_found_by_the_squares():
    generator = np.random.default_rng(0)
    y = np.arange(400) % 2
    x = generator.normal(size=(400, 1)) * np.where(y, 5.0, 0.5)[:, None]
    found = measure("finding", "size", x, y, np.arange(400).astype(str), "binary")
    assert found.auroc.value > 0.8


@pytest.mark.parametrize(("patients", "images"), [(60, 3), (300, 1)])
def test_chance_is_covered_at_about_the_nominal_rate(patients, images):
    covered, values = 0, []
    for seed in range(100):
        found = measure("l", "c", *planted(patients, images, 0.0, seed), "binary", seed)
        covered += found.auroc.low <= 0.5 <= found.auroc.high
        values.append(found.auroc.value)
    # 95 nominal; the deviation of 100 draws is 2.2.
    assert covered >= 87
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_few_patients_give_a_wide_interval():
    few = measure("l", "c", *planted(12, 25, 1.0, 3), "binary").auroc
    many = measure("l", "c", *planted(300, 1, 1.0, 3), "binary").auroc
    assert few.high - few.low > 2 * (many.high - many.low)


def test_auroc_is_that_of_scikit_learn():
    x, y, ids = planted(80, 2, 1.0, 5)
    scores = out_of_fold_scores(x, y, ids, 0)
    found = measure("l", "c", x, y, ids, "binary")
    assert found.auroc.value == pytest.approx(roc_auc_score(y, scores[:, 1]), abs=1e-12)
    three = (np.arange(160) // 2 % 3).astype(np.int64)
    x[:, 1] += three
    scores = out_of_fold_scores(x, three, ids, 0)
    wanted = np.mean([roc_auc_score(three == k, scores[:, k]) for k in range(3)])
    found = measure("l", "c", x, three, ids, "multiclass")
    assert found.auroc.value == pytest.approx(wanted, abs=1e-12)


def test_scores_come_from_other_patients(monkeypatch):
    """A label that every image carries in itself is learned only from others."""
    x, y, ids = planted(40, 4, 0.0, 9)
    trained = []
    ridge = shortcuts._ridge

    def watching(features, target, others, classes):
        trained.append((features[:, 0], others[:, 0]))
        return ridge(features, target, others, classes)

    monkeypatch.setattr(shortcuts, "_ridge", watching)
    out_of_fold_scores(x, y, ids)
    owner = dict(zip(x[:, 0].tolist(), ids, strict=True))
    assert len(trained) == 5
    for train, test in trained:
        learned, scored = ({owner[v] for v in values.tolist()} for values in (train, test))
        assert scored
        assert not learned & scored


def test_what_does_not_vary_and_too_few_patients_have_no_score():
    x, y, ids = planted(40, 2, 1.0, 1)
    assert measure("l", "c", np.ones_like(x), y, ids, "binary").auroc is None
    rare = np.where(np.isin(ids, ["p0", "p1"]), 1, 0)
    found = measure("l", "c", x, rare, ids, "binary")
    assert (found.auroc, found.verdict) == (None, "does not vary")
    unknown = np.where(np.arange(80) < 20, -1, y)
    assert measure("l", "c", x, unknown, ids, "binary").images == 60


def test_cues_of_a_store(store):
    rows = np.array([3, 40])
    cues = cue_features(store, rows)
    assert list(cues) == ["size", "format", "intensity", "border"]
    np.testing.assert_allclose(cues["size"][0], np.log([20, 16, 20 / 16]))
    np.testing.assert_allclose(cues["intensity"][1], store[40].mean(axis=(0, 1)), rtol=1e-12)
    assert cues["border"].shape == (2, 32)
    # Padding makes the first and last rows black.
    assert not cues["border"][:, :16].any()
    assert cues["border"][:, 16:].all()
