"""From a probability to yes or no: the threshold, and what it costs on the images it came from.

Legend: N samples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class OperatingPoint(NamedTuple):
    """A threshold with its sensitivity and specificity on the images it was chosen on.

    These flatter the threshold, which was chosen to make them large.
    """

    threshold: float  # yes where the probability is this or more
    sensitivity: float | None  # None where there is no positive
    specificity: float | None  # None where there is no negative
    positives: int
    negatives: int


def youden(positive: NDArray[np.bool_], probability: NDArray[np.floating]) -> OperatingPoint:
    """The threshold with the largest sensitivity + specificity - 1.

    Args:
        positive: What is true, shape (N,).
        probability: Of yes, 0 to 1, shape (N,).

    Returns:
        The threshold lies midway between two neighbouring probabilities, so that rounding does not
        decide; of several that are equally good it is the one nearest to 0.5. It is 0.5 where the
        images hold one class or all have the same probability.

    Source: Youden 1950, Cancer 3(1), 32-35.
    """
    values = np.unique(np.asarray(probability, dtype=np.float64))
    yes, no = (
        np.sort(np.asarray(probability, dtype=np.float64)[part]) for part in (positive, ~positive)
    )
    cuts = (values[:-1] + values[1:]) / 2
    if not len(yes) or not len(no) or not len(cuts):
        cuts = np.array([0.5])
    sensitivity = 1 - np.searchsorted(yes, cuts) / max(1, len(yes))
    specificity = np.searchsorted(no, cuts) / max(1, len(no))
    index = sensitivity + specificity
    # Sums of two ratios that are equal may differ in their last bit.
    best = np.flatnonzero(index >= index.max() - 1e-12)
    chosen = best[np.argmin(np.abs(cuts[best] - 0.5))]
    return OperatingPoint(
        float(cuts[chosen]),
        float(sensitivity[chosen]) if len(yes) else None,
        float(specificity[chosen]) if len(no) else None,
        len(yes),
        len(no),
    )
