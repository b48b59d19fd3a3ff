"""The fit of a learning curve against curves that are known, and against SciPy's search."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from medstrata.metrics.learning_curve import fit_power_law

LABELS = np.array([30.0, 100.0, 300.0, 3000.0])


def curve(labels, ceiling, factor, exponent):
    return ceiling - factor * labels**-exponent


@pytest.mark.parametrize("truth", [(0.9, 1.0, 0.5), (0.8, 2.0, 1.0), (0.95, 0.5, 0.3)])
def test_a_curve_without_noise_is_found_again(truth):
    law = fit_power_law(LABELS, curve(LABELS, *truth)[None])
    for labels in (*LABELS, 6000, 12000):
        assert law.at(labels)[0] == pytest.approx(curve(labels, *truth), abs=2e-3)


def test_no_worse_than_a_search():
    draw = np.random.default_rng(0)
    scores = curve(LABELS, 0.9, 1.0, 0.4) + 0.01 * draw.normal(size=(5, 4))
    law = fit_power_law(LABELS, scores)
    for row, seen in enumerate(scores):

        def missed(x, seen=seen):
            return seen - curve(LABELS, *x)

        searched = least_squares(missed, (0.9, 1, 0.5), bounds=([0, 0, 0.05], [1, 9, 2]))
        ours = np.array([law.at(one)[row] for one in LABELS])
        assert np.square(seen - ours).sum() <= 2 * searched.cost + 1e-6


def test_the_ceiling_is_not_passed_and_nothing_falls():
    straight = 0.5 + 0.1 * np.log10(LABELS / 30)  # heads beyond 1
    falling = 0.9 - 0.1 * np.log10(LABELS / 30)
    law = fit_power_law(LABELS, np.stack([0.35 + 2 * (straight - 0.4), falling]))
    assert law.at(1e12) == pytest.approx([min(1, law.ceiling[0]), falling.mean()], abs=0.01)
    assert (law.ceiling <= 1).all()
    assert law.at(6000)[0] >= law.at(3000)[0]
    assert fit_power_law(LABELS, (straight + 0.4)[None], np.inf).ceiling[0] > 1


def test_two_numbers_of_labels_make_no_curve():
    with pytest.raises(ValueError, match="three numbers of labels or more"):
        fit_power_law(np.array([10.0, 10.0, 100.0]), np.ones((1, 3)))
