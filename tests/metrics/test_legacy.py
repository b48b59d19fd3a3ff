"""The paper's own figures: equal to plain versions of its formulas, and as wrong as stated."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel

from medstrata.metrics.intervals import bootstrap_interval, score
from medstrata.metrics.legacy import interval, rbf_cka
from support.plain_metrics import predictions


def resampled_images(count: int) -> Any:
    counts = np.random.Generator(np.random.PCG64(2)).multinomial(count, [1 / count] * count, 500)
    return (np.repeat(np.arange(count), row) for row in counts)


def test_interval_mixes_resamples_and_labels_and_divides_by_the_root_of_the_resamples():
    target, probability = predictions("multilabel", 200)
    target = np.nan_to_num(target)
    drawn = [
        roc_auc_score(target[rows], probability[rows], average=None)
        for rows in resampled_images(200)
    ]
    found = interval("macro_auroc", target, probability, "multilabel", seed=2)
    half = 1.96 * np.std(drawn) / np.sqrt(500)
    assert (found.low, found.high) == pytest.approx((np.mean(drawn) - half, np.mean(drawn) + half))
    assert found.value == score("macro_auroc", target, probability, "multilabel")
    assert found.resamples == 500


def test_interval_of_a_score_that_has_no_labels_is_of_the_score():
    target, probability = predictions("binary", 200)
    chosen = probability[:, 0] >= 0.5
    drawn = [f1_score(target[r], chosen[r], average="macro") for r in resampled_images(200)]
    found = interval("macro_f1", target, probability, "binary", seed=2)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn) / np.sqrt(500))


def test_interval_is_some_22_times_too_narrow():
    target, probability = predictions("binary", 300)
    right = bootstrap_interval("macro_auroc", target, probability, "binary", np.arange(300))
    wrong = interval("macro_auroc", target, probability, "binary")
    assert (right.high - right.low) / (wrong.high - wrong.low) == pytest.approx(22.4, rel=0.1)


def features(count: int, size: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(count, size))


def plain_cka(first: Any, second: Any, scale: float) -> float:
    count = len(first)
    centring = np.eye(count) - 1 / count
    one, other = (rbf_kernel(rows, gamma=1 / (2 * scale**2)) for rows in (first, second))

    def independence(a: Any, b: Any) -> float:
        return float(np.trace(a @ centring @ b @ centring))

    return independence(one, other) / np.sqrt(independence(one, one) * independence(other, other))


@pytest.mark.parametrize("scale", [0.8, 2.0])
def test_cka_equals_its_definition_on_each_subset(scale: float):
    first = features(50, 6, 0)
    second = first[:, :4] + 0.5 * features(50, 4, 1)
    found = rbf_cka(first, second, scale=scale, subsets=3, size=30, seed=4)
    generator = np.random.Generator(np.random.PCG64(4))
    subsets = [generator.permutation(50)[:30] for _ in range(3)]
    expected = [plain_cka(first[rows], second[rows], scale) for rows in subsets]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert len(set(found)) == 3


def test_cka_takes_all_images_where_there_are_few():
    first, second = features(20, 3, 0), features(20, 3, 1)
    found = rbf_cka(first, second, scale=2, subsets=2)
    assert found.tolist() == pytest.approx([plain_cka(first, second, 2)] * 2)


def test_cka_saturates_for_unrelated_features():
    unrelated = rbf_cka(features(200, 256, 0), features(200, 256, 1), subsets=2)
    assert unrelated == pytest.approx([1.0, 1.0], abs=1e-6)
    wide = rbf_cka(features(200, 256, 0), features(200, 256, 1), scale=16, subsets=2)
    assert wide.max() < 0.9


def test_cka_of_other_images_is_refused():
    with pytest.raises(ValueError, match="features of 3 and 4 images"):
        rbf_cka(features(3, 2, 0), features(4, 2, 0))
