import numpy as np
import pytest
import torch

from medstrata.monitors import (
    collapse_warnings,
    effective_rank,
    feature_norm,
    neighbour_probabilities,
    spread,
)


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


def test_collapse_is_said_in_words_and_health_is_silent() -> None:
    generator = np.random.default_rng(0)
    healthy = np.abs(generator.normal(size=(300, 64))).astype(np.float32)
    assert collapse_warnings(healthy, effective_rank(healthy)) == []
    same = np.ones((300, 64), np.float32) + 1e-4 * healthy
    assert "collapsing" in collapse_warnings(same, 30.0)[0]
    line = np.outer(generator.normal(size=300), np.ones(64)).astype(np.float32)
    (message,) = collapse_warnings(line, effective_rank(line))
    assert "1.0 of 64 directions" in message


def test_neighbours_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    bank, queries = torch.randn(30, 6), torch.randn(5, 6)
    labels = torch.eye(3)[torch.arange(30) % 3]
    values = neighbour_probabilities(bank, labels, queries, neighbours=7)
    for query, value in zip(queries, values, strict=True):
        cosine = torch.nn.functional.cosine_similarity(bank, query[None])
        nearest = cosine.argsort(descending=True)[:7]
        votes = torch.exp(cosine[nearest] / 0.07)
        expected = (votes[:, None] * labels[nearest]).sum(0) / votes.sum()
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


def test_an_image_in_the_bank_is_its_own_best_neighbour() -> None:
    bank = torch.eye(4)
    values = neighbour_probabilities(bank, torch.eye(4), bank, neighbours=1)
    torch.testing.assert_close(values, torch.eye(4))
