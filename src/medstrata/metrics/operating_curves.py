"""ROC and precision-recall curves of many resamples on a common grid.

Shape letters: N samples, R resamples, G places of the grid, T thresholds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.resampling import Floats, Resamples, running_sums


def operating_curves(
    positive: NDArray[np.bool_], probability: NDArray[Any], resamples: Resamples, grid: Floats
) -> tuple[Floats, Floats]:
    """Sensitivity over 1 - specificity, and precision over recall.

    Samples of equal probability share their fate. Between the thresholds sensitivity runs along
    straight lines; precision is that of the highest threshold that reaches the recall, so that its
    mean over all recalls is the average precision.

    Args:
        positive: What is true, shape (N,).
        probability: Of the positive class, shape (N,).
        resamples: Of the samples.
        grid: Places from 0 to 1, ascending, shape (G,).

    Returns:
        Both curves, each (R, G); NaN where a resample lacks positive or negative samples.
    """
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) + 1  # of equals, plus 1
    roc, precision_recall = [], []
    for counts in resamples.blocks(len(order)):
        drawn = resamples.of(order, counts)
        called = running_sums(drawn).take(last, axis=1)  # (rows, T)
        right = running_sums(drawn * positive[order]).take(last, axis=1)
        for hits, all_called in zip(right, called, strict=True):
            misses = all_called - hits
            if not hits[-1] or not misses[-1]:
                roc.append(np.full(len(grid), np.nan))
                precision_recall.append(np.full(len(grid), np.nan))
                continue
            recall = hits / hits[-1]
            false_alarms = np.append(0, misses / misses[-1])
            roc.append(np.interp(grid, false_alarms, np.append(0, recall)))
            # Thresholds above every sample of the resample call nothing.
            precision = hits / np.maximum(all_called, 1e-12)
            reached = np.searchsorted(recall, np.maximum(grid, 1e-12) - 1e-12)
            precision_recall.append(precision[reached])
    return np.array(roc), np.array(precision_recall)
