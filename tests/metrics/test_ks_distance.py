"""KS distances against SciPy."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from medstrata.metrics import resampling
from medstrata.metrics.ks_distance import KsDistances, cdf, ks_distance, ks_interval


def models(count: int = 60) -> tuple[Any, Any]:
    """Probabilities of two models of the same samples, with many ties within and between."""
    generator = np.random.default_rng(0)
    first = generator.random((count, 3))
    second = first ** np.array([1.5, 2, 3]) + generator.normal(0, 0.05, first.shape)
    return np.round(first, 2), np.round(np.clip(second, 0, 1), 2)


@pytest.mark.parametrize("decimals", [1, 2, 15])
def test_distance_equals_scipy(decimals: int):
    generator = np.random.default_rng(decimals)
    for _ in range(20):
        first = np.round(generator.random(generator.integers(1, 50)), decimals)
        second = np.round(generator.random(generator.integers(1, 50)) ** 2, decimals)
        expected = stats.ks_2samp(first, second, method="asymp").statistic
        assert ks_distance(first, second) == pytest.approx(expected, abs=1e-12)


def test_distance_by_hand():
    # At 2 the first has three of four at or below, the second one of four.
    assert ks_distance(np.array([1, 1, 2, 4]), np.array([2, 3, 3, 4])) == 0.5
    assert ks_distance(np.array([1.0, 2]), np.array([1.0, 2])) == 0
    assert ks_distance(np.array([1.0, 2]), np.array([3.0, 4, 5])) == 1
    # Equal numbers are one step: whatever their order, the two functions are equal.
    assert ks_distance(np.zeros(5), np.zeros(7)) == 0


def test_distance_sees_only_the_order_and_no_sides():
    first, second = (model[:, 0] for model in models())
    assert ks_distance(second, first) == ks_distance(first, second) > 0
    assert ks_distance(np.exp(first), np.exp(second)) == ks_distance(first, second)


def test_interval_mirrors_the_distances_of_materialised_resamples(monkeypatch: pytest.MonkeyPatch):
    first, second = models()
    patients = np.repeat(np.arange(20), 3)
    found = ks_interval(first, second, patients, resamples=15, seed=3, level=0.8)
    counts = np.random.Generator(np.random.PCG64(3)).multinomial(20, [1 / 20] * 20, size=15)
    drawn = []
    for row in counts:
        rows = np.repeat(np.arange(60), row[patients])
        drawn.append([stats.ks_2samp(first[rows, k], second[rows, k]).statistic for k in range(3)])
    values = [stats.ks_2samp(first[:, k], second[:, k]).statistic for k in range(3)]
    every = [*zip(values, np.transpose(drawn), strict=True), (np.mean(values), np.mean(drawn, 1))]
    for one, (value, distances) in zip([*found.per_class, found.mean], every, strict=True):
        below, above = np.quantile(distances, [0.1, 0.9])
        expected = value, np.clip(2 * value - above, 0, value), np.clip(2 * value - below, value, 1)
        assert dataclasses.astuple(one) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(resampling, "_BLOCK", 1)  # one resample at a time
    assert ks_interval(first, second, patients, resamples=15, seed=3, level=0.8) == found


def test_equal_models_have_distance_zero_throughout():
    first, _ = models()
    found = ks_interval(first, first, np.arange(60), resamples=50)
    assert {dataclasses.astuple(one) for one in (*found.per_class, found.mean)} == {(0.0, 0.0, 0.0)}


def test_models_without_overlap_have_distance_one_throughout():
    first = np.random.default_rng(0).random((30, 1)) / 2
    found = ks_interval(first, first + 0.5, np.arange(30), resamples=50)
    assert dataclasses.astuple(found.mean) == (1.0, 1.0, 1.0)


def test_patients_are_drawn_whole():
    first, second = models()
    repeated = np.repeat(first, 50, axis=0), np.repeat(second, 50, axis=0)

    def width(found: KsDistances) -> float:
        return found.mean.high - found.mean.low

    whole = ks_interval(*repeated, np.repeat(np.arange(60), 50), resamples=300)
    single = ks_interval(first, second, np.arange(60), resamples=300)
    by_image = ks_interval(*repeated, np.arange(3000), resamples=300)
    assert width(whole) == pytest.approx(width(single))
    assert width(by_image) < width(whole) / 3


def test_cdf_by_hand():
    values = np.array([0.5, 0.1, 0.5, 0.9])
    assert cdf(values, np.array([0.0, 0.1, 0.4, 0.5, 1.0])).tolist() == [0, 0.25, 0.25, 0.75, 1]


def test_what_is_no_distribution_is_refused():
    first, second = models()
    with pytest.raises(ValueError, match="look for a diverged model"):
        ks_distance(np.array([0.1, np.nan]), np.array([0.5]))
    with pytest.raises(ValueError, match="a distribution of 0 values"):
        ks_distance(np.array([]), np.array([0.5]))
    with pytest.raises(ValueError, match="the same samples and classes"):
        ks_interval(first, second[1:], np.arange(60))
    with pytest.raises(ValueError, match=r"patient_ids has shape \(59,\)"):
        ks_interval(first, second, np.arange(59))
    with pytest.raises(ValueError, match=r"level is 1\.0"):
        ks_interval(first, second, np.arange(60), level=1.0)
