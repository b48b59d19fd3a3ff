"""Differences and permutation tests against plain versions."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from medstrata.metrics.intervals import resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import METRICS
from medstrata.metrics.paired_difference import Difference, _ranks, holm
from support.arms import compare_arms, noisy_arms
from support.plain_metrics import CASES, PLAIN, predictions

PATIENTS = np.repeat(np.arange(20), 3)


def compare(name: str, kind: TaskKind, **options: Any) -> Difference:
    target, first, second = noisy_arms(kind)
    return compare_arms(name, target, first, second, kind, PATIENTS, **options)


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
    target, first, second = noisy_arms(kind)
    found = compare(name, kind, resamples=5, permutations=9, seed=3)
    swaps = np.random.Generator(np.random.PCG64([3, 1])).integers(2, size=(10, 20), dtype=np.uint8)
    if METRICS[name].reads_order:
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
    target, first, second = noisy_arms(kind)
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
    found = compare_arms(
        "accuracy", target, [first], [second], "binary", np.arange(6), permutations=20_000
    )
    assert found.value == pytest.approx(4 / 6)
    assert found.p_value == pytest.approx(exact, abs=0.007)  # three standard deviations


def test_arms_that_are_equal_differ_by_nothing():
    target, first, _ = noisy_arms("binary")
    for name in ("macro_auroc", "brier"):
        found = compare_arms(name, target, first, first, "binary", PATIENTS, resamples=20)
        assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("name", ["macro_auroc", "average_precision", "sensitivity_at_90"])
def test_calibration_does_not_matter_to_metrics_of_order(name: str):
    target, good = predictions("multilabel")
    noise = np.random.default_rng(0).random(good.shape)
    first, second = [good], [0.8 * good + 0.2 * noise]
    bent = [model**5 / 3 for model in second]
    options = {"resamples": 20, "permutations": 200}
    plain = compare_arms(name, target, first, second, "multilabel", PATIENTS, **options)
    assert plain == compare_arms(name, target, first, bent, "multilabel", PATIENTS, **options)
    assert 1 / 201 < plain.p_value < 1  # neither end, which anything would give


def test_exchanging_the_arms_turns_the_sign():
    target, first, second = noisy_arms("ordinal")
    forth, back = (
        compare_arms("quadratic_kappa", target, *pair, "ordinal", PATIENTS, level=0.9)
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
    found = compare_arms("macro_auroc", target, [probability], [alike], "binary", ids)
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
    target, first, second = noisy_arms("binary")

    def run(one: Any, other: Any, **options: Any) -> None:
        compare_arms("brier", target, one, other, "binary", PATIENTS, **options)

    with pytest.raises(ValueError, match="shorter"):
        run(first, second[:1])
    with pytest.raises(ValueError, match="no predictions to score"):
        run([], [])
    with pytest.raises(ValueError, match="permutations is 0: it must be 1 or more"):
        run(first, second, permutations=0)
    with pytest.raises(ValueError, match="resamples is 0"):
        run(first, second, resamples=0)
    with pytest.raises(ValueError, match="unknown metric 'auc'"):
        compare_arms("auc", target, first, second, "binary", PATIENTS)
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
