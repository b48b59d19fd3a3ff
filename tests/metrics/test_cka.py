"""CKA against the papers' definitions, values worked by hand, and its invariances."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics.pairwise import rbf_kernel

from medstrata.metrics.cka import (
    MEASURES,
    linear_heatmap,
    measures,
    subset_measures,
)
from medstrata.metrics.kernels import Array
from medstrata.metrics.legacy import rbf_cka as absolute_width_cka
from support import plain_similarity as plain

Floats = NDArray[np.float64]


def linear_cka(x: Array, y: Array, *, debiased: bool) -> float:
    return linear_heatmap([x], [y], debiased=debiased)[0][0]


def rbf_cka(x: Array, y: Array, *, debiased: bool, scale: float = 0.8) -> float:
    return measures(x, y, scale=scale)["rbf_debiased" if debiased else "rbf"]


CKA = [linear_cka, rbf_cka]


def unrelated(samples: int, dimensions: int, seed: int = 0) -> tuple[Floats, Floats]:
    x, y = np.random.default_rng(seed).normal(size=(2, samples, dimensions))
    return x, y


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-7)])
@pytest.mark.parametrize("shape", [(90, 10, 20), (90, 120, 60), (90, 200, 300), (7, 3, 90)])
def test_equals_the_definitions(
    shape: tuple[int, int, int], dtype: type, tolerance: float, debiased: bool
) -> None:
    x, y = plain.features(*shape)
    expected = {
        "linear": plain.cka(plain.linear(x), plain.linear(y), debiased=debiased),
        "rbf": plain.cka(plain.rbf(x), plain.rbf(y), debiased=debiased),
    }
    x, y = x.astype(dtype), y.astype(dtype)
    found = measures(x, y)
    for kind, cka in zip(("linear", "rbf"), CKA, strict=True):
        assert found[kind + "_debiased" * debiased] == pytest.approx(expected[kind], abs=tolerance)
        assert cka(x, y, debiased=debiased) == found[kind + "_debiased" * debiased]


def test_linear_worked_by_hand() -> None:
    x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])  # centred
    y = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    # Biased: (x.y)^2 / (|x|^2 |y|^2) = 2^2 / (10 * 4).
    assert linear_cka(x, y, debiased=False) == pytest.approx(0.1)
    # Debiased: with squares 4, 1, 1, 4 of x and 1 of y and N = 4, the cross term is
    # 2^2 less 2 times 10 plus 10 times 4 / 6, and so on.
    xy, xx, yy = 4 - 20 + 40 / 6, 100 - 68 + 100 / 6, 16 - 8 + 16 / 6
    assert linear_cka(x, y, debiased=True) == pytest.approx(xy / np.sqrt(xx * yy))


def test_rbf_worked_by_hand() -> None:
    # Four corners of a square of side 1: distances 1 four times, sqrt(2) twice; median 1.
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    # The same places for other samples: the second and fourth change places.
    y = x[[0, 3, 2, 1]]
    near, far = np.exp(-0.5 / 0.64), np.exp(-1 / 0.64)
    # Every row of K holds 1, near, near, far, so with mean m, biased, per row:
    mean = (1 + 2 * near + far) / 4
    own = (1 - mean) ** 2 + 2 * (near - mean) ** 2 + (far - mean) ** 2
    cross = (1 - mean) ** 2 + (near - mean) ** 2 + 2 * (near - mean) * (far - mean)
    assert rbf_cka(x, y, debiased=False) == pytest.approx(cross / own)


def test_rbf_equals_scikit_learn() -> None:
    x, y = plain.features(80, 30, 50)

    def kernel(side: Floats) -> Floats:
        between = np.sort(plain.distances(side)[np.tril_indices(80, -1)])
        bandwidth = 0.8 * between[(len(between) - 1) // 2]
        first = rbf_kernel(side, gamma=1 / (2 * bandwidth**2))
        np.testing.assert_allclose(first, RBF(bandwidth)(side))
        return np.asarray(first)

    for debiased in (False, True):
        expected = plain.cka(kernel(x), kernel(y), debiased=debiased)
        assert rbf_cka(x, y, debiased=debiased) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("scale", [0.1, 0.3, 2.0, 10.0])
def test_rbf_at_other_bandwidths(scale: float) -> None:
    x, y = plain.features(60, 4, 6)
    for debiased in (False, True):
        expected = plain.cka(plain.rbf(x, scale), plain.rbf(y, scale), debiased=debiased)
        assert rbf_cka(x, y, scale=scale, debiased=debiased) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("cka", CKA)
def test_invariances(cka: Callable[..., float], debiased: bool) -> None:
    x, y = plain.features(60, 20, 40)
    value = cka(x, y, debiased=debiased)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 40)))[0]
    order = np.random.default_rng(2).permutation(60)
    assert cka(x, x, debiased=debiased) == pytest.approx(1, abs=1e-12)
    assert cka(x, 1e6 * (y @ rotation) - 5, debiased=debiased) == pytest.approx(value, abs=1e-10)
    assert cka(x, 1e-30 * y, debiased=debiased) == pytest.approx(value, abs=1e-10)
    for scale in (1e-25, 1e25):  # whose squares float32 does not hold
        tiny = (scale * y).astype(np.float32)
        assert cka(x, tiny, debiased=debiased) == pytest.approx(value, abs=1e-6)
    assert cka(y, x, debiased=debiased) == pytest.approx(value, abs=1e-12)
    assert cka(x[order], y[order], debiased=debiased) == pytest.approx(value, abs=1e-12)
    assert abs(cka(x, y[order], debiased=debiased) - value) > 0.1
    stretched = y * np.geomspace(0.01, 100, 40)
    assert abs(cka(x, stretched, debiased=debiased) - value) > 0.01


@pytest.mark.parametrize("kind", ["linear", "rbf"])
def test_unrelated_features_have_no_debiased_similarity(kind: str) -> None:
    found = [measures(*unrelated(50, 200, seed)) for seed in range(60)]
    debiased = np.array([each[f"{kind}_debiased"] for each in found])
    error = debiased.std(ddof=1) / np.sqrt(len(debiased))
    assert abs(debiased.mean()) < 3 * error
    assert error < 0.01
    assert min(each[kind] for each in found) > 0.5


def test_every_order_of_few_samples_averages_to_nothing() -> None:
    # The numerator of the debiased form is 0 on average over all orders of one side, exactly.
    x, y = plain.features(5, 3, 4)
    for cka in CKA:
        values = [cka(x, y[list(order)], debiased=True) for order in permutations(range(5))]
        assert np.mean(values) == pytest.approx(0, abs=1e-12)
        assert np.std(values) > 0.1


def test_many_samples_with_a_shared_offset_keep_their_digits() -> None:
    # Far from the origin and nearly unrelated: what is left is a small difference of large sums.
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3000, 16))
    y = 0.1 * x + generator.normal(size=(3000, 16))
    far = [(side + 100).astype(np.float32) for side in (x, y)]
    exact, found = measures(x, y), measures(*far)
    for name in MEASURES:
        assert found[name] == pytest.approx(exact[name], abs=2e-5), name
    # The linear values by another road: covariances.
    both = np.cov(x.T, y.T)
    parts = both[:16, 16:], both[:16, :16], both[16:, 16:]
    cross, first, second = (np.square(part).sum() for part in parts)
    assert exact["linear"] == pytest.approx(cross / np.sqrt(first * second), rel=1e-9)


def test_heatmap_holds_every_pair() -> None:
    first = [plain.features(40, size, 5)[0] for size in (5, 30, 90)]
    second = [plain.features(40, 5, size, seed=1)[1] for size in (20, 60)]
    found = linear_heatmap(first, second, debiased=True)
    for x, row in zip(first, found, strict=True):
        assert row == [linear_cka(x, y, debiased=True) for y in second]


def test_subsets_equal_the_measures_of_their_rows() -> None:
    x, y = plain.features(90, 20, 40)
    generator = np.random.default_rng(0)
    subsets = [generator.permutation(90)[:30] for _ in range(3)]
    orders = [[generator.permutation(30) for _ in range(2)] for _ in range(3)]
    spread = subset_measures(x, y, subsets, orders)
    for name in MEASURES:
        values = [measures(x[rows], y[rows])[name] for rows in subsets]
        np.testing.assert_allclose(spread.values[name], values, atol=1e-12)
        null = [
            measures(x[rows], y[rows][order])[name]
            for rows, some in zip(subsets, orders, strict=True)
            for order in some
        ]
        np.testing.assert_allclose(spread.null[name], null, atol=1e-12)


@pytest.mark.parametrize("cka", CKA)
def test_undefined_similarity_is_nan(cka: Callable[..., float]) -> None:
    x, _ = plain.features(30, 5, 5)
    for debiased in (False, True):
        assert np.isnan(cka(x, np.full((30, 3), 0.1), debiased=debiased))
        assert np.isnan(cka(np.full((30, 3), 0.1, np.float32), x, debiased=debiased))


def test_rbf_of_mostly_equal_samples_is_nan() -> None:
    # They differ by less than the rounding of a squared distance in float32.
    generator = np.random.default_rng(0)
    x = generator.normal(size=50) + 5e-5 * generator.normal(size=(40, 50))
    x[:5] += 1
    x = x.astype(np.float32)
    y = plain.features(40, 5, 5)[0]
    assert np.isnan(rbf_cka(x, y, debiased=True))
    assert np.isfinite(linear_cka(x, y, debiased=True))


def test_errors_say_what_is_wrong() -> None:
    x, y = plain.features(30, 5, 5)
    with pytest.raises(ValueError, match="30 rows against 29"):
        linear_cka(x, y[:29], debiased=True)
    with pytest.raises(ValueError, match="four samples or more, got 3"):
        rbf_cka(x[:3], y[:3], debiased=False)
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        measures(x, y)


def test_arguments_are_left_alone() -> None:
    x, y = (torch.from_numpy(side) for side in plain.features(40, 5, 60))
    before = x.clone(), y.clone()
    measures(x, y)
    subset_measures(x, y, [np.arange(20)], [[np.arange(20)]])
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_absolute_bandwidth_calls_unrelated_features_equal() -> None:
    x, y = unrelated(40, 60)
    for scale in (1, 0.05):
        near, other = scale * x, scale * y
        k, m = (np.exp(-np.square(plain.distances(side)) / 1.28) for side in (near, other))
        expected = plain.cka(k, m, debiased=False)
        assert absolute_width_cka(near, other, subsets=1)[0] == pytest.approx(expected, abs=1e-12)
    assert absolute_width_cka(x, y, subsets=1)[0] > 0.999
    assert absolute_width_cka(0.05 * x, 0.05 * y, subsets=1)[0] < 0.9
    assert abs(measures(x, y)["rbf_debiased"]) < 0.2
