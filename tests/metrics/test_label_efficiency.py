"""Label efficiency by hand, and against a plain version on the same draws of the patients."""

from typing import Any

import numpy as np
import pytest

from medstrata.metrics.intervals import percentile_ends, resampled_scores
from medstrata.metrics.label_efficiency import Efficiency, label_efficiency
from medstrata.metrics.metric import LOWER_IS_BETTER
from support.arms import arm_scores, noisy_arms

PATIENTS = np.repeat(np.arange(20), 3)


def compared(
    name: str, target: Any, by_fraction: Any, reference: Any, patients: Any, **options: Any
) -> Efficiency:
    """Label efficiency by predictions of a binary task."""
    return label_efficiency(
        {
            fraction: arm_scores(name, target, models, "binary", patients, **options)
            for fraction, models in by_fraction.items()
        },
        arm_scores(name, target, reference, "binary", patients, **options),
        lower_is_better=name in LOWER_IS_BETTER,
    )


def with_right(count: int) -> Any:
    """Predictions of ten images of class 1, as many of them right."""
    return [np.where(np.arange(10) < count, 0.9, 0.1)[:, None]]


def efficiency(
    counts: dict[float, int], goal: int, name: str = "accuracy", **options: Any
) -> Efficiency:
    models = {fraction: with_right(count) for fraction, count in counts.items()}
    return compared(
        name, np.ones(10, dtype=int), models, with_right(goal), np.arange(10), **options
    )


def test_label_efficiency_by_hand():
    # Accuracy .5 at 1 % and .8 at 10 %, goal .7: two thirds of the way, in logarithms.
    assert efficiency({0.1: 8, 0.01: 5, 1.0: 9}, 7).fraction == pytest.approx(10 ** (-2 + 2 / 3))
    assert efficiency({0.01: 5, 0.1: 8, 1.0: 9}, 8).fraction == pytest.approx(0.1)
    assert efficiency({0.01: 5, 0.1: 6, 1.0: 8}, 7).fraction == pytest.approx(10**-0.5)
    # The line dips again later: the first crossing counts.
    assert efficiency({0.01: 5, 0.1: 8, 1.0: 6}, 7).fraction == pytest.approx(10 ** (-2 + 2 / 3))
    # A Brier score falls: .41 to .17 at 1 % and 10 %, goal .25.
    falling = efficiency({0.01: 5, 0.1: 8}, 7, name="brier")
    assert falling.fraction == pytest.approx(10 ** (-2 + 2 / 3))


def test_an_arm_that_starts_above_the_reference_gets_the_smallest_share():
    found = efficiency({0.01: 9, 1.0: 10}, 8)
    assert (found.fraction, found.low, found.reached) == (0.01, 0.01, 1.0)


def test_an_arm_that_never_reaches_the_reference_gets_none():
    assert efficiency({0.01: 5, 1.0: 6}, 10) == Efficiency(
        fraction=None, low=None, high=None, reached=pytest.approx(0.6**10 * 2, abs=0.02)
    )


def test_seeds_are_averaged_before_they_are_compared():
    # Accuracies .4 and .8 at 1 %, .9 and .9 at 100 %, goal .75: .6 to .9 is halfway.
    found = compared(
        "accuracy",
        np.ones(20, dtype=int),
        {
            0.01: [np.tile(one, (2, 1)) for one in with_right(4) + with_right(8)],
            1.0: [np.tile(one, (2, 1)) for one in with_right(9) * 2],
        },
        [(np.arange(20) < 15)[:, None] * 0.9],
        np.arange(20),
    )
    assert found.fraction == pytest.approx(0.1)


def test_ends_come_from_the_same_draws_of_the_patients():
    target, first, second = noisy_arms("binary")
    by_fraction = {0.1: second, 1.0: first}
    reference = [first[1], second[0]]
    found = compared("macro_auroc", target, by_fraction, reference, PATIENTS, resamples=101, seed=2)
    options = {"resamples": 101, "seed": 2}

    def drawn(models: Any) -> Any:
        return np.mean(
            [
                resampled_scores("macro_auroc", target, m, "binary", PATIENTS, **options)
                for m in models
            ],
            axis=0,
        )

    start, end, goal = drawn(second), drawn(first), drawn(reference)
    needed = []
    for a, b, g in zip(start, end, goal, strict=True):
        if a >= g:
            needed.append(0.1)
        else:
            needed.append(10 ** (-1 + (g - a) / (b - a)) if b >= g else np.inf)
    ordered = np.sort(needed)
    assert found.reached == np.isfinite(needed).mean()
    # The 3rd and the 99th of 101: the first to have 2.5 and 97.5 % at or below.
    low, high = ordered[2], ordered[98]
    assert found.low == pytest.approx(low)
    assert found.high == (pytest.approx(high) if np.isfinite(high) else None)


@pytest.mark.parametrize(("misses", "high"), [(25, 1.0), (26, np.inf)])
def test_the_upper_end_is_lost_with_more_than_its_share_of_resamples(misses: int, high: float):
    needed = np.append(np.ones(1000 - misses), np.full(misses, np.inf))
    assert percentile_ends(needed, 0.95, "inverted_cdf") == (1.0, high, 1000)


def test_an_arm_keeps_pace_with_itself_in_every_resample():
    target, first, second = noisy_arms("binary")
    found = compared("macro_auroc", target, {0.1: second, 1.0: first}, second, PATIENTS)
    assert found == Efficiency(
        fraction=pytest.approx(0.1), low=pytest.approx(0.1), high=pytest.approx(0.1), reached=1.0
    )
    assert np.ptp(resampled_scores("macro_auroc", target, second[0], "binary", PATIENTS)) > 0.1


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.1, 1.5)])
def test_shares_out_of_range_are_refused(fractions: tuple[float, ...]):
    with pytest.raises(ValueError, match="fractions must lie above 0 and at most at 1"):
        efficiency(dict.fromkeys(fractions, 5), 5)
