"""Bins of reliability diagrams, by hand."""

import numpy as np
import pytest

from medstrata.metrics.intervals import score
from medstrata.report.sections.calibration import reliability
from support.predicted_runs import TASKS, Patients


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_bins_are_those_of_the_calibration_error(kind):
    made = Patients(TASKS[kind], patients=60)
    probability = made.predictions(1.0)
    found = reliability(made.target, [probability], kind)
    error = (found.counts * abs(found.probability - found.frequency)).sum() / found.counts.sum()
    assert error == pytest.approx(score("ece", made.target, probability, kind))
    assert found.counts.sum() == made.images


def test_a_probability_at_an_edge_belongs_below():
    assert reliability(np.array([1]), [np.array([[0.2]])], "binary").bins.tolist() == [2]


def test_bins_by_hand():
    """Two seeds together; an unknown label is left out."""
    target = np.array([[1.0, np.nan], [0.0, 1.0]])
    first = np.array([[0.95, 0.5], [0.97, 0.01]])
    found = reliability(target, [first, first], "multilabel")
    assert found.bins.tolist() == [0, 14]
    assert found.counts.tolist() == [2, 4]
    assert found.probability == pytest.approx([0.01, 0.96])
    assert found.frequency == pytest.approx([1.0, 0.5])
