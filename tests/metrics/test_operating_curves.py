"""Curves against scikit-learn's, sample weights standing for resamples."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from medstrata.metrics.operating_curves import operating_curves
from medstrata.metrics.resampling import original_sample, resample_patients

GRID = np.linspace(0, 1, 201)


@pytest.fixture
def made():
    draw = np.random.default_rng(0)
    positive = draw.random(120) < 0.3
    # Few distinct values, so that many samples are level.
    return positive, np.round(draw.normal(size=120) + positive, 1)


def test_curves_are_those_of_scikit_learn(made):
    positive, probability = made
    resamples = resample_patients(np.arange(120) // 2, 120, resamples=5)
    roc, precision_recall = operating_curves(positive, probability, resamples, GRID)
    for row, counts in enumerate(resamples.counts):
        weights = counts[resamples.groups].astype(float)
        false, true, _ = roc_curve(
            positive, probability, sample_weight=weights, drop_intermediate=False
        )
        np.testing.assert_allclose(roc[row], np.interp(GRID, false, true), atol=1e-12)
        precision, recall, _ = precision_recall_curve(positive, probability, sample_weight=weights)
        # Theirs ends with an added point of recall 0; from the largest threshold down.
        recall, precision = recall[:-1][::-1], precision[:-1][::-1]
        above = recall > 0
        at = np.searchsorted(recall[above], GRID - 1e-12)
        np.testing.assert_allclose(precision_recall[row], precision[above][at], atol=1e-12)


def test_mean_precision_is_the_average_precision(made):
    positive, probability = made
    fine = (np.arange(100_000) + 0.5) / 100_000
    _, curve = operating_curves(positive, probability, original_sample(120), fine)
    assert curve.mean() == pytest.approx(average_precision_score(positive, probability), abs=1e-4)


def test_a_resample_of_one_class_has_no_curve(made):
    _, probability = made
    for curve in operating_curves(np.ones(120, bool), probability, original_sample(120), GRID):
        assert np.isnan(curve).all()
