"""Label efficiency: the share of the labels with which an arm does what another does with all.

Shape letters: F fractions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medstrata.metrics.paired_difference import ROUNDING, Difference
from medstrata.metrics.resampling import Floats


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """The share of the labels with which an arm scores as the reference does with all.

    Attributes:
        fraction: That share, in (0, 1]; None where no share studied is enough.
        low: Lower end of the interval; None beyond the largest share studied.
        high: Upper end, likewise.
    """

    fraction: float | None
    low: float | None
    high: float | None


def label_efficiency(
    by_fraction: Mapping[float, Difference], *, lower_is_better: bool
) -> Efficiency:
    """Find the share of the labels with which an arm scores as a reference does with all of them.

    The difference of the two is taken as linear in the logarithm of the share between the shares
    studied; the answer is the smallest share at which this line reaches 0, even where the line dips
    below it again. An arm that reaches it at the smallest share studied gets that share, of which
    the truth may be any part.

    The interval holds the shares at which the difference may be 0: it begins where the upper ends
    of the differences reach 0 and ends where the lower ones do, at the level that these have.

    Args:
        by_fraction: Share of the labels, in (0, 1], to the score of the arm with it less that of
            the reference with all; one share or more.
        lower_is_better: Whether low scores reach the reference.

    Raises:
        ValueError: There is no share, or one outside (0, 1].

    Source: an interval as the values that a test would keep: Fieller 1954, Journal of the Royal
        Statistical Society B 16, 175-185.
    """
    fractions = sorted(by_fraction)
    if not fractions or not 0 < fractions[0] <= fractions[-1] <= 1:
        raise ValueError(f"fractions must lie above 0 and at most at 1, got {fractions}")
    found = [by_fraction[fraction] for fraction in fractions]
    if lower_is_better:
        found = [one.reversed for one in found]
    curves = np.array([(one.value, one.high, one.low) for one in found])
    fraction, low, high = (_first_crossing(np.array(fractions), curve) for curve in curves.T)
    return Efficiency(fraction=fraction, low=low, high=high)


def _first_crossing(fractions: Floats, curve: Floats) -> float | None:
    """Fraction where a curve (F,) first reaches 0; None where it never does."""
    reached = np.flatnonzero(curve >= -ROUNDING)
    if not len(reached):
        return None
    after = reached[0]
    if after == 0:
        return float(fractions[0])
    start, end = curve[after - 1], max(curve[after], 0.0)
    share = -start / (end - start)
    return float(fractions[after - 1] * (fractions[after] / fractions[after - 1]) ** share)
