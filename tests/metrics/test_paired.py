"""Differences, permutation tests and label efficiency against plain versions."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from medstrata.metrics.intervals import READS_ORDER, percentile_ends, resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.label_efficiency import Efficiency, label_efficiency
from medstrata.metrics.paired import Difference, _ranks, holm, paired_difference
from support.plain_metrics import CASES, PLAIN, predictions

PATIENTS = np.repeat(np.arange(20), 3)


def arms(kind: TaskKind) -> tuple[Any, list[Any], list[Any]]:
    """Targets, two seeds of a good arm and two of one near chance."""
    target, good = predictions(kind)
    first, second = [good], []
    for seed in range(3):
        noise = np.random.default_rng(seed + 10).random(good.shape)
        other = 0.5 * good + 0.5 * noise if seed == 0 else 0.1 * good + 0.9 * noise
        if kind in ("multiclass", "ordinal"):
            other = other / other.sum(axis=1, keepdims=True)
        (first if seed == 0 else second).append(np.round(other, 2))
    return target, first, second


def compare(name: str, kind: TaskKind, **options: Any) -> Difference:
    target, first, second = arms(kind)
    return paired_difference(name, target, first, second, kind, PATIENTS, **options)


def mean_score(name: str, kind: TaskKind, target: Any, models: Any) -> float:
    return float(np.mean([PLAIN[name](target, model, kind) for model in models]))


def plain_ranks(target: Any, model: Any) -> Any:
    ranks = np.zeros(model.shape)
    for column in range(model.shape[1]):
        known = ~np.isnan(target[:, column]) if target.ndim == 2 else np.full(len(target), True)
        ranks[known, column] = stats.rankdata(model[known, column]) / known.sum()
    return ranks


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_equals_swapping_patients_one_by_one(name: str, kind: TaskKind):
    target, first, second = arms(kind)
    found = compare(name, kind, resamples=5, permutations=9, seed=3)
    swaps = np.random.Generator(np.random.PCG64([3, 1])).integers(2, size=(10, 20), dtype=np.uint8)
    if name in READS_ORDER:
        first, second = ([plain_ranks(target, one) for one in arm] for arm in (first, second))
    observed = mean_score(name, kind, target, first) - mean_score(name, kind, target, second)
    count = 0
    for row in swaps[1:]:
        swapped = row[PATIENTS].astype(bool)[:, None]
        new_first = [np.where(swapped, b, a) for a, b in zip(first, second, strict=True)]
        new_second = [np.where(swapped, a, b) for a, b in zip(first, second, strict=True)]
        one, other = (mean_score(name, kind, target, arm) for arm in (new_first, new_second))
        count += abs(one - other) >= abs(observed) - 1e-12
    assert found.value == pytest.approx(observed, abs=1e-12)
    assert found.p_value == (1 + count) / 10


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_interval_resamples_the_patients_of_both_arms_alike(name: str, kind: TaskKind):
    target, first, second = arms(kind)
    found = compare(name, kind, resamples=5, permutations=1, seed=4, level=0.8)
    counts = np.random.Generator(np.random.PCG64(4)).multinomial(20, [1 / 20] * 20, size=5)
    differences = []
    for row in counts:
        rows = np.repeat(np.arange(60), row[PATIENTS])
        one, other = (
            mean_score(name, kind, target[rows], [model[rows] for model in arm])
            for arm in (first, second)
        )
        differences.append(one - other)
    expected = np.quantile(differences, [0.1, 0.9])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)
    assert found.resamples == 5
    per_seed = [
        score(name, target, a, kind) - score(name, target, b, kind)
        for a, b in zip(first, second, strict=True)
    ]
    assert found.per_seed == pytest.approx(per_seed)
    assert found.value == pytest.approx(np.mean(per_seed))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_ranks_are_those_of_scipy_among_known_labels(kind: TaskKind):
    target, probability = predictions(kind)
    found = _ranks(probability, target, kind)
    np.testing.assert_allclose(found, plain_ranks(target, probability), rtol=0, atol=1e-15)


def test_p_value_is_near_that_of_all_exchanges():
    # Accuracy of six patients with one image each: 64 exchanges, gone through by hand.
    target = np.array([0, 1, 0, 1, 0, 1])
    first = np.array([0.1, 0.9, 0.2, 0.8, 0.3, 0.7])[:, None]  # six right
    second = np.array([0.9, 0.1, 0.8, 0.2, 0.2, 0.8])[:, None]  # the last two right
    right = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]])
    differences = [
        sum((right[0] - right[1]) * np.where(swaps, -1, 1))
        for swaps in itertools.product([0, 1], repeat=6)
    ]
    exact = np.mean(np.abs(differences) >= 4)
    assert exact == 2 / 16
    found = paired_difference(
        "accuracy", target, [first], [second], "binary", np.arange(6), permutations=20_000
    )
    assert found.value == pytest.approx(4 / 6)
    assert found.p_value == pytest.approx(exact, abs=0.007)  # three standard deviations


def test_arms_that_are_equal_differ_by_nothing():
    target, first, _ = arms("binary")
    for name in ("macro_auroc", "brier"):
        found = paired_difference(name, target, first, first, "binary", PATIENTS, resamples=20)
        assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("name", ["macro_auroc", "average_precision", "sensitivity_at_90"])
def test_calibration_does_not_matter_to_metrics_of_order(name: str):
    target, good = predictions("multilabel")
    noise = np.random.default_rng(0).random(good.shape)
    first, second = [good], [0.8 * good + 0.2 * noise]
    bent = [model**5 / 3 for model in second]
    options = {"resamples": 20, "permutations": 200}
    plain = paired_difference(name, target, first, second, "multilabel", PATIENTS, **options)
    assert plain == paired_difference(name, target, first, bent, "multilabel", PATIENTS, **options)
    assert 1 / 201 < plain.p_value < 1  # neither end, which anything would give


def test_exchanging_the_arms_turns_the_sign():
    target, first, second = arms("ordinal")
    forth, back = (
        paired_difference("quadratic_kappa", target, *pair, "ordinal", PATIENTS, level=0.9)
        for pair in ((first, second), (second, first))
    )
    assert forth.p_value == back.p_value
    assert (forth.value, forth.low, forth.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_paired_interval_is_narrower_than_of_separate_draws():
    target, probability = predictions("binary", 300)
    noise = 0.02 * np.random.default_rng(0).normal(size=probability.shape)
    alike, ids = np.clip(probability + noise, 0, 1), np.arange(300)
    found = paired_difference("macro_auroc", target, [probability], [alike], "binary", ids)
    apart = resampled_scores("macro_auroc", target, probability, "binary", ids, seed=1)
    apart = apart - resampled_scores("macro_auroc", target, alike, "binary", ids, seed=2)
    low, high = np.quantile(apart, [0.025, 0.975])
    assert 0 < found.high - found.low < (high - low) / 3


def test_an_interval_of_a_difference_does_not_narrow_with_more_draws():
    few, many = (
        np.mean(
            [
                found.high - found.low
                for seed in range(4)
                if (
                    found := compare(
                        "macro_auroc", "binary", resamples=count, permutations=1, seed=seed
                    )
                )
            ]
        )
        for count in (400, 4000)
    )
    assert many == pytest.approx(few, rel=0.1)


def test_arms_that_do_not_match_are_refused():
    target, first, second = arms("binary")

    def run(one: Any, other: Any, **options: Any) -> None:
        paired_difference("brier", target, one, other, "binary", PATIENTS, **options)

    with pytest.raises(ValueError, match="the arms have 2 and 1 seeds: give the same seeds"):
        run(first, second[:1])
    with pytest.raises(ValueError, match="no predictions to score"):
        run([], [])
    with pytest.raises(ValueError, match="permutations is 0: it must be 1 or more"):
        run(first, second, permutations=0)
    with pytest.raises(ValueError, match="resamples is 0"):
        run(first, second, resamples=0)
    with pytest.raises(ValueError, match="unknown metric 'auc'"):
        paired_difference("auc", target, first, second, "binary", PATIENTS)
    with pytest.raises(ValueError, match="give one row per sample"):
        run(first, [model[1:] for model in second])


# Holm.


def test_holm_by_hand():
    # In order .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_rejects_as_the_step_down_procedure_does():
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.random(generator.integers(1, 8)) ** 3
        values[generator.integers(len(values))] = values[0]  # a tie
        level = generator.random() * 0.3
        rejected = np.zeros(len(values), dtype=bool)
        for step, number in enumerate(np.argsort(values)):
            if values[number] > level / (len(values) - step):
                break
            rejected[number] = True
        assert (np.array(holm(values)) <= level).tolist() == rejected.tolist()


@pytest.mark.parametrize("values", [[-0.1], [1.1], [np.nan, 0.5]])
def test_holm_refuses_what_is_no_p_value(values: list[float]):
    with pytest.raises(ValueError, match=r"p-values must lie in 0\.\.1"):
        holm(values)


# Label efficiency.


def with_right(count: int) -> Any:
    """Predictions of ten images of class 1, as many of them right."""
    return [np.where(np.arange(10) < count, 0.9, 0.1)[:, None]]


def efficiency(
    counts: dict[float, int], goal: int, name: str = "accuracy", **options: Any
) -> Efficiency:
    models = {fraction: with_right(count) for fraction, count in counts.items()}
    return label_efficiency(
        name, np.ones(10, dtype=int), models, with_right(goal), "binary", np.arange(10), **options
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
    found = label_efficiency(
        "accuracy",
        np.ones(20, dtype=int),
        {
            0.01: [np.tile(one, (2, 1)) for one in with_right(4) + with_right(8)],
            1.0: [np.tile(one, (2, 1)) for one in with_right(9) * 2],
        },
        [(np.arange(20) < 15)[:, None] * 0.9],
        "binary",
        np.arange(20),
    )
    assert found.fraction == pytest.approx(0.1)


def test_ends_come_from_the_same_draws_of_the_patients():
    target, first, second = arms("binary")
    by_fraction = {0.1: second, 1.0: first}
    reference = [first[1], second[0]]
    found = label_efficiency(
        "macro_auroc", target, by_fraction, reference, "binary", PATIENTS, resamples=101, seed=2
    )
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
    target, first, second = arms("binary")
    found = label_efficiency(
        "macro_auroc", target, {0.1: second, 1.0: first}, second, "binary", PATIENTS
    )
    assert found == Efficiency(
        fraction=pytest.approx(0.1), low=pytest.approx(0.1), high=pytest.approx(0.1), reached=1.0
    )
    assert np.ptp(resampled_scores("macro_auroc", target, second[0], "binary", PATIENTS)) > 0.1


@pytest.mark.parametrize("fractions", [(), (0.0, 1.0), (0.1, 1.5)])
def test_shares_out_of_range_are_refused(fractions: tuple[float, ...]):
    with pytest.raises(ValueError, match="fractions must lie above 0 and at most at 1"):
        efficiency(dict.fromkeys(fractions, 5), 5)
