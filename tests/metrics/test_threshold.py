"""Thresholds by Youden's J."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from medstrata.metrics.threshold import youden


def test_youden_against_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        truth = draw.random(30) < 0.4
        values = np.round(draw.random(30) * 0.6 + 0.4 * truth, 1).astype(np.float32)
        point = youden(truth, values)
        false, right, _ = roc_curve(truth, values, drop_intermediate=False)
        inner = (right - false)[1:-1]
        assert point.sensitivity + point.specificity - 1 == pytest.approx(inner.max())  # type: ignore[operator]
        yes = values >= point.threshold
        assert point.sensitivity == pytest.approx(yes[truth].mean())
        assert point.specificity == pytest.approx((~yes[~truth]).mean())


def test_youden_by_hand_and_at_its_edges() -> None:
    truth = np.array([False, False, True, True])
    assert youden(truth, np.array([0.1, 0.2, 0.4, 0.9])) == (pytest.approx(0.3), 1.0, 1.0, 2, 2)
    # 0.15 and 0.45 are equally good: the one nearer to 0.5.
    values = np.array([0.1, 0.3, 0.2, 0.6])
    assert youden(truth, values).threshold == pytest.approx(0.45)
    assert youden(np.array([True, True]), np.array([0.1, 0.2])) == (0.5, 0.0, None, 2, 0)
    assert youden(truth, np.full(4, 0.7)) == (0.5, 1.0, 0.0, 2, 2)
