"""Effective rank and spread of features, by hand and against plain decompositions."""

import numpy as np
import pytest

from medstrata.metrics.spectrum import effective_rank, feature_norm, rankme, spread


def test_effective_rank_by_hand() -> None:
    # Centred singular values 3 and 1: shares 3/4 and 1/4, entropy 0.5623, exponential 1.7548.
    features = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]], dtype=np.float32)
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(features) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(200, 8), (8, 200)])
def test_effective_rank_against_singular_values(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    shares = values[values > 1e-6] / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(features) == pytest.approx(expected, rel=1e-3)
    assert effective_rank(3 * features + 5) == pytest.approx(effective_rank(features), rel=1e-3)


def test_rank_of_a_line_is_one_and_of_a_point_zero() -> None:
    line = np.outer(np.arange(10), np.ones(5)).astype(np.float32)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert effective_rank(np.ones((10, 5), np.float32)) == 0


def test_norm_and_spread() -> None:
    features = np.array([[3, 4], [6, 8]], dtype=np.float32)
    assert feature_norm(features) == pytest.approx(7.5)
    assert spread(np.ones((4, 3), np.float32)) == 0
    assert spread(7 * features) == pytest.approx(spread(features))


def test_rankme_by_hand() -> None:
    # Singular values 3 and 1, not centred; each share is raised by 1e-7.
    features = np.array([[3, 0], [0, 1]], dtype=np.float32)
    shares = np.array([0.75, 0.25]) + 1e-7
    assert rankme(features) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


@pytest.mark.parametrize("shape", [(200, 8), (8, 200), (50, 50)])
def test_rankme_against_a_plain_decomposition(shape: tuple[int, int]) -> None:
    features = (np.random.default_rng(1).normal(size=shape) + 0.5).astype(np.float32)
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    shares = values / values.sum() + 1e-7
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert rankme(features) == pytest.approx(expected, rel=1e-6)
    assert rankme(7 * features) == pytest.approx(expected, rel=1e-6)


def test_rankme_sees_the_mean_and_effective_rank_does_not() -> None:
    features = np.random.default_rng(2).normal(size=(100, 10)).astype(np.float32)
    assert rankme(features + 100) < 2 < effective_rank(features + 100)
    assert rankme(np.zeros((5, 3), np.float32)) == 0
