"""Label efficiency: the share of the labels with which an arm does what another does with all.

Shape letters: N samples, M columns of probability, R resamples, F fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.intervals import (
    LOWER_IS_BETTER,
    checked_draws,
    mean_of_models,
    percentile_ends,
)
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.paired import ROUNDING, arm_scores
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
    name: str,
    target: NDArray[Any],
    by_fraction: Mapping[float, Sequence[NDArray[Any]]],
    reference: Sequence[NDArray[Any]],
    kind: TaskKind,
    patient_ids: NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Efficiency:
    """Find the share of the labels with which an arm scores as a reference does with all of them.

    The mean score over seeds is taken as linear in the logarithm of the share between the shares
    studied; the answer is the smallest share at which this line reaches the reference, even where
    the line dips below it again. An arm that reaches it at the smallest share studied gets that
    share, of which the truth may be any part. Where it never does, in a resample, the share lies
    beyond 1: `high` is None when more than 2.5 % of the resamples never reach (at level 0.95), and
    `low` when more than 97.5 % do not.

    Args:
        name: One of `metrics_for(kind)`; of those where lower is better, low scores reach.
        target: As for `intervals.score`.
        by_fraction: Share of the labels, in (0, 1], to predictions of the arm, one (N, M) array a
            seed; one share or more.
        reference: Predictions of the reference trained on all labels, one (N, M) array a seed.
        kind: Of the task.
        patient_ids: Whose each sample is, shape (N,); any values that can be sorted.
        resamples: Draws of as many patients as there are, 1 or more; the same for all models.
        seed: Of the draws, 0 or more.
        level: Share of the resamples inside the interval, above 0 and below 1.

    Returns:
        Share, interval and how often the reference is reached; resamples in which a score is not
        defined are dropped.

    Raises:
        ValueError: As for `intervals.mean_interval`; or there is no share, or one outside (0, 1].
    """
    draws = checked_draws(patient_ids, len(target), resamples, seed)
    return efficiency_of(
        {
            fraction: arm_scores(name, target, models, kind, draws)
            for fraction, models in by_fraction.items()
        },
        arm_scores(name, target, reference, kind, draws),
        lower_is_better=name in LOWER_IS_BETTER,
        level=level,
    )


def efficiency_of(
    by_fraction: Mapping[float, Sequence[Floats]],
    reference: Sequence[Floats],
    *,
    lower_is_better: bool,
    level: float = 0.95,
) -> Efficiency:
    """The label efficiency of an arm by its scores.

    Args:
        by_fraction: Share of the labels, in (0, 1], to scores of the arm as `paired.arm_scores`
            gives them, one (1 + R,) array a seed; one share or more.
        reference: Those of the reference, of the same resamples.
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
