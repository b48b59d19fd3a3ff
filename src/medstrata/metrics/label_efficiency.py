"""Label efficiency: the share of the labels with which an arm does what another does with all.

Shape letters: R resamples, F fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medstrata.metrics.intervals import mean_of_models, percentile_ends
from medstrata.metrics.paired_difference import ROUNDING
from medstrata.metrics.resampling import Floats


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """The share of the labels with which an arm scores as the reference does with all.

    Attributes:
        fraction: That share, in (0, 1]; None where no share studied is enough.
        low: Lower end of the interval over patients; None beyond the largest share studied.
        high: Upper end, likewise.
        reached: Share of the resamples in which some share is enough, in [0, 1].
    """

    fraction: float | None
    low: float | None
    high: float | None
    reached: float


def label_efficiency(
    by_fraction: Mapping[float, Sequence[Floats]],
    reference: Sequence[Floats],
    *,
    lower_is_better: bool,
    level: float = 0.95,
) -> Efficiency:
    """Find the share of the labels with which an arm scores as a reference does with all of them.

    The mean score over seeds is taken as linear in the logarithm of the share between the shares
    studied; the answer is the smallest share at which this line reaches the reference, even where
    the line dips below it again. An arm that reaches it at the smallest share studied gets that
    share, of which the truth may be any part. Where it never does, in a resample, the share lies
    beyond 1: `high` is None when more than 2.5 % of the resamples never reach (at level 0.95), and
    `low` when more than 97.5 % do not. Resamples in which a score is not defined are dropped.

    Args:
        by_fraction: Share of the labels, in (0, 1], to scores of the arm as for
            `paired_difference`, one (1 + R,) array a seed; one share or more.
        reference: Those of the reference trained on all labels, of the same resamples.
        lower_is_better: Whether low scores reach the reference.
        level: Share of the resamples inside the interval, above 0 and below 1.

    Raises:
        ValueError: There is no share, or one outside (0, 1], or a share without a seed, or no
            resample has a value.
    """
    fractions = sorted(by_fraction)
    if not fractions or not 0 < fractions[0] <= fractions[-1] <= 1:
        raise ValueError(f"fractions must lie above 0 and at most at 1, got {fractions}")
    sign = -1 if lower_is_better else 1
    curves = np.stack([sign * mean_of_models(by_fraction[fraction]) for fraction in fractions])
    needed = _first_crossing(np.array(fractions), curves, sign * mean_of_models(reference))
    low, high, _ = percentile_ends(needed[1:], level, "inverted_cdf")
    defined = needed[1:][~np.isnan(needed[1:])]
    fraction, low_end, high_end = (
        float(end) if np.isfinite(end) else None for end in (needed[0], low, high)
    )
    return Efficiency(
        fraction=fraction, low=low_end, high=high_end, reached=float(np.isfinite(defined).mean())
    )


def _first_crossing(fractions: Floats, curves: Floats, goal: Floats) -> Floats:
    """Fraction where each curve first reaches its goal: (F,), (F, R), (R,) -> (R,).

    Infinite where it never does, NaN where a score is.
    """
    reached = curves >= goal - ROUNDING
    after = reached.argmax(axis=0)
    before = np.maximum(after - 1, 0)
    number = np.arange(len(goal))
    start, end = curves[before, number], curves[after, number]
    share = np.clip((goal - start) / np.where(end > start, end - start, 1), 0, 1)
    crossing = fractions[before] * (fractions[after] / fractions[before]) ** share
    undefined = np.isnan(curves).any(axis=0) | np.isnan(goal)
    return np.where(undefined, np.nan, np.where(reached.any(axis=0), crossing, np.inf))
