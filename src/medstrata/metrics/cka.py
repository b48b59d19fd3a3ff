"""Centred kernel alignment of two sets of features of the same samples.

CKA(K, L) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of two kernels (Kornblith et al. 2019,
arXiv:1905.00414, eq. 2). The biased form takes tr(KHLH) for HSIC: with fewer samples than
dimensions it is high even for unrelated features. The debiased form takes the unbiased estimator
of Song et al. 2012 (JMLR 13, eq. 5), as Nguyen et al. 2021 do (arXiv:2010.15327, eq. 3): about 0,
of either sign, for unrelated features.

Both forms are functions of sum_{i != j} K_ij L_ij, of the row sums and of the diagonals. Neither
changes when a kernel is multiplied by a number, when a constant is added to it, or when the
features of a linear or RBF kernel are moved: `kernels` makes use of that.

Shape letters: N samples, D and E dimensions, n samples of a subset.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from medstrata.metrics.kernels import (
    Array,
    Kernel,
    Pair,
    centred,
    kernel_matrices,
    linear_cross,
    linear_kernel,
    rbf_pair,
    sum_of_products,
)

MEASURES = ("linear", "linear_debiased", "rbf", "rbf_debiased")


class SubsetMeasures(NamedTuple):
    """Every measure on several subsets."""

    values: dict[str, NDArray[np.float64]]  # measure -> one value a subset
    null: dict[str, NDArray[np.float64]]  # measure -> one value a mismatched order of a subset


def measures(x: Array, y: Array, *, scale: float = 0.8) -> dict[str, float]:
    """All of `MEASURES` of two sets of features: similarity up to rotation and scale.

    With the RBF kernels, near samples count most.

    Args:
        x: Features of N samples, shape (N, D).
        y: Other features of the same samples in the same order, shape (N, E).
        scale: Bandwidth of exp(-d^2 / (2 bandwidth^2)) as a multiple of the median distance, on
            each side its own. The median is that of all pairs of up to 2,000 samples, and beyond
            of all pairs of 2,000 that are evenly spaced in the order given.

    Returns:
        1 for equal features; for unrelated ones above 0 (biased) or about 0 (debiased). NaN where
        one side is the same for all samples, or its own debiased HSIC is not positive, and of the
        RBF kernels where half of all pairs of samples are the same.

    Raises:
        ValueError: the rows do not match, are fewer than four, or are not finite.

    Source: Kornblith et al. 2019, arXiv:1905.00414, section 3.
    """
    _check(x, y)
    x, y = centred(x), centred(y)
    linear = Pair(linear_kernel(x), linear_kernel(y), linear_cross(x, y))
    return _both_forms({"linear": linear, "rbf": rbf_pair(x, y, scale)})


def linear_heatmap(
    first: Sequence[Array], second: Sequence[Array], *, debiased: bool
) -> list[list[float]]:
    """Linear CKA of every set of features in one list with every set in another.

    Args:
        first: Sets of features of the same samples, each (N, D) with a D of its own.
        second: Further sets of features of these samples in the same order.
        debiased: Whether HSIC is estimated without bias.

    Returns:
        A row for each of `first`, a column for each of `second`.

    Raises:
        ValueError: as `measures`.
    """
    for x in first:
        for y in second:
            _check(x, y)
    rows = [(x, linear_kernel(x)) for x in map(centred, first)]
    columns = [(y, linear_kernel(y)) for y in map(centred, second)]
    return [
        [_cka(Pair(kernel, other, linear_cross(x, y)), debiased) for y, other in columns]
        for x, kernel in rows
    ]


def subset_measures(
    x: Array,
    y: Array,
    subsets: Sequence[NDArray[np.int64]],
    mismatches: Sequence[Sequence[NDArray[np.int64]]],
    *,
    scale: float = 0.8,
) -> SubsetMeasures:
    """All of `MEASURES` on subsets of the samples, with their rows matched and mismatched.

    The kernels of a subset are computed once, four matrices of n x n, for all measures and orders.

    Args:
        x: Features of N samples, shape (N, D).
        y: Other features of the same samples in the same order, shape (N, E).
        subsets: Rows of each subset, (n,).
        mismatches: For each subset, permutations of `range(n)`: the row of y that each row of x
            meets instead of its own.
        scale: As in `measures`; the median is that of the subset.

    Returns:
        Values of the subsets, and of their mismatched orders.

    Raises:
        ValueError: as `measures`.
    """
    _check(x, y)
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    null: dict[str, list[float]] = {name: [] for name in MEASURES}
    for chosen, orders in zip(subsets, mismatches, strict=True):
        rows = torch.from_numpy(chosen).to(x.device)
        first, second = kernel_matrices(x[rows], scale), kernel_matrices(y[rows], scale)
        _append(values, {name: _matched(*first[name], *second[name]) for name in first})
        for order in orders:
            turned = torch.from_numpy(order).to(x.device)
            other = {
                name: (matrix[turned][:, turned], kernel.reordered(turned))
                for name, (matrix, kernel) in second.items()
            }
            _append(null, {name: _matched(*first[name], *other[name]) for name in first})
    return SubsetMeasures(
        {name: np.array(numbers) for name, numbers in values.items()},
        {name: np.array(numbers) for name, numbers in null.items()},
    )


def _matched(matrix: torch.Tensor, kernel: Kernel, other: torch.Tensor, second: Kernel) -> Pair:
    return Pair(kernel, second, sum_of_products(matrix, other))


def _append(lists: Mapping[str, list[float]], pairs: Mapping[str, Pair]) -> None:
    for name, value in _both_forms(pairs).items():
        lists[name].append(value)


def _both_forms(pairs: Mapping[str, Pair]) -> dict[str, float]:
    """Biased and debiased CKA of each kind of kernel."""
    return {
        name + suffix: _cka(pair, debiased)
        for name, pair in pairs.items()
        for suffix, debiased in (("", False), ("_debiased", True))
    }


def _cka(pair: Pair, debiased: bool) -> float:
    first, second, _ = pair
    own = [_hsic(Pair(kernel, kernel, kernel.squares), debiased) for kernel in (first, second)]
    if not min(own) > 0:  # NaN is not above 0 either
        return math.nan
    return _hsic(pair, debiased) / math.sqrt(own[0] * own[1])


def _hsic(pair: Pair, debiased: bool) -> float:
    """HSIC times what depends on N alone.

    Debiased, Song et al. 2012, eq. 5, with the diagonals left out; biased, tr(KHLH) written out.
    For the linear kernel of centred features a row without its diagonal adds up to -|x_i|^2, so
    the debiased form is |x'y|^2 - N / (N - 2) sum |x_i|^2 |y_i|^2 plus the product of both
    traces over (N - 1)(N - 2), and the biased form |x'y|^2 alone.
    """
    first, second, cross = pair
    samples, k, m = len(first.rows), first.rows, second.rows
    if debiased:
        means = float(k.sum() * m.sum()) / ((samples - 1) * (samples - 2))
        return cross + means - 2 / (samples - 2) * float(k @ m)
    cross += float(first.diagonal @ second.diagonal)
    k, m = k + first.diagonal, m + second.diagonal
    return cross + float(k.sum() * m.sum()) / samples**2 - 2 / samples * float(k @ m)


def _check(x: Array, y: Array) -> None:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} rows against {len(y)}: rows must be of the same samples")
    if len(x) < 4:
        raise ValueError(f"similarity needs four samples or more, got {len(x)}")
