"""Linear and RBF kernels of features, reduced to the sums that an alignment of two is made of.

Products are computed in the features' own precision, float32 at least, and added up in float64.
No N x N matrix is held but for subsets (`kernel_matrices`).

Shape letters: N samples, D and E dimensions, n samples of a subset.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = Tensor | NDArray[np.floating[Any]]

_TILE = 512  # rows and columns of a kernel in work at a time: 1 MiB in float32
_ROWS = 4096  # samples whose products are added up before float64 takes over
_MEDIAN_ROWS = 2000  # samples between which the median distance is taken


class Kernel(NamedTuple):
    """What is kept of a kernel; the sums leave its diagonal out."""

    rows: Tensor  # sum of each row, (N,), float64
    diagonal: Tensor  # (N,), float64
    squares: float  # sum of the squared entries

    def reordered(self, order: Tensor) -> "Kernel":
        """The kernel of the same samples in another order."""
        return Kernel(self.rows[order], self.diagonal[order], self.squares)


class Pair(NamedTuple):
    """Two kernels of the same samples."""

    first: Kernel
    second: Kernel
    cross: float  # sum over i != j of the products of their entries


def centred(features: Array) -> Tensor:
    """Features less their mean, divided by what makes their mean square 1.

    Raises:
        ValueError: a value is not finite.
    """
    values = torch.as_tensor(features)
    values = values if values.dtype == torch.float64 else values.float()
    total = torch.stack([part.double().sum(0) for part in values.split(_TILE)]).sum(0)
    values = values - (total / len(values)).to(values.dtype)
    size = math.sqrt(float(squared_lengths(values).sum()) / values.numel())
    if not math.isfinite(size):
        raise ValueError("features hold values that are not finite")
    return values.div_(size) if size else values


def squared_lengths(x: Tensor) -> Tensor:
    """Squared length of each row, (N,), float64."""
    return torch.cat([part.double().square().sum(1) for part in x.split(_TILE)])


def linear_kernel(x: Tensor) -> Kernel:
    """The kernel x x' of centred features: each whole row adds up to 0."""
    diagonal = squared_lengths(x)
    return Kernel(-diagonal, diagonal, linear_cross(x, x))


def linear_cross(x: Tensor, y: Tensor) -> float:
    """Sum over i != j of (x_i . x_j) (y_i . y_j).

    Over all i and j the sum is |x'y|^2 (Kornblith et al. 2019, arXiv:1905.00414, eq. 1), so it
    takes D x E products of N terms when there are more samples than dimensions, else N x N of D
    and of E. The diagonal's share, the sum of |x_i|^2 |y_i|^2, is taken off.

    Args:
        x: Shape (N, D).
        y: Shape (N, E).
    """
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, y = x.to(dtype), y.to(dtype)
    dimensions = 2 / (1 / x.shape[1] + 1 / y.shape[1])
    total = _over_dimensions(x, y) if len(x) > dimensions else _over_samples(x, y)
    return total - float(squared_lengths(x) @ squared_lengths(y))


def _over_dimensions(x: Tensor, y: Tensor) -> float:
    total = 0.0
    for some, others, times in _tiles(x.shape[1], y.shape[1], symmetric=x is y):
        parts = zip(x[:, some].split(_ROWS), y[:, others].split(_ROWS), strict=True)
        product = torch.stack([(a.T @ b).double() for a, b in parts]).sum(0)
        total += times * float(product.square().sum())
    return total


def _over_samples(x: Tensor, y: Tensor) -> float:
    total = 0.0
    for some, others, times in _tiles(len(x), len(x), symmetric=True):
        tile = x[some] @ x[others].T
        other = tile if x is y else y[some] @ y[others].T
        total += times * sum_of_products(tile, other)
    return total


def _tiles(rows: int, columns: int, *, symmetric: bool) -> Iterator[tuple[slice, slice, int]]:
    """Tiles of a matrix and how often each counts; below a symmetric one's diagonal is none."""
    for top in range(0, rows, _TILE):
        for left in range(top if symmetric else 0, columns, _TILE):
            times = 2 if symmetric and left > top else 1
            yield slice(top, top + _TILE), slice(left, left + _TILE), times


def sum_of_products(first: Tensor, second: Tensor) -> float:
    """Sum over all entries of the products of two matrices."""
    return float((first * second).sum(1).sum(dtype=torch.float64))


def rbf_pair(x: Tensor, y: Tensor, scale: float) -> Pair:
    """RBF kernels of both sides, tile by tile.

    Args:
        x: Centred features, shape (N, D).
        y: Centred features of the same samples, shape (N, E).
        scale: Bandwidth in median distances of the side.

    Returns:
        The kernels exp(-d^2 / (2 bandwidth^2)), each times a number and less another.
    """
    sides = [side / _bandwidth(_median_gram(side), scale) for side in (x, y)]
    lengths = [squared_lengths(side) for side in sides]
    rows = [torch.zeros_like(each) for each in lengths]
    squares, cross = [0.0, 0.0], 0.0
    for some, others, times in _tiles(len(x), len(x), symmetric=True):
        tiles = []
        for number, side in enumerate(sides):
            tile = _rbf(
                side[some] @ side[others].T, lengths[number][some], lengths[number][others], scale
            )
            if times == 1:
                tile.fill_diagonal_(0)
            else:
                rows[number][others] += tile.sum(0)
            rows[number][some] += tile.sum(1)
            squares[number] += times * sum_of_products(tile, tile)
            tiles.append(tile)
        cross += times * sum_of_products(*tiles)
    diagonal = torch.full_like(rows[0], _diagonal(scale))
    return Pair(Kernel(rows[0], diagonal, squares[0]), Kernel(rows[1], diagonal, squares[1]), cross)


def _rbf(gram: Tensor, lengths: Tensor, others: Tensor, scale: float) -> Tensor:
    """exp(shift - d^2 / 2) - 1 from inner products, in their place.

    Most pairs are about a median distance apart and have about the same value. With the shift that
    value is near 0; else the sums over all pairs would lose digits to it.
    """
    shift = _shift(scale)
    exponents = gram.sub_((lengths / 2).to(gram.dtype)[:, None])
    exponents = exponents.sub_((others / 2 - shift).to(gram.dtype))
    return exponents.clamp_(max=shift).expm1_()


def _shift(scale: float) -> float:
    """d^2 / 2 at the median distance; bounded, or the diagonal would outgrow all else."""
    return min(0.5 / scale**2, 1.0)


def _diagonal(scale: float) -> float:
    return math.expm1(_shift(scale))


def _median_gram(x: Tensor) -> Tensor:
    """Inner products of the samples whose distances give the median: evenly spaced ones."""
    count = min(len(x), _MEDIAN_ROWS)
    chosen = x[torch.arange(count, device=x.device) * len(x) // count]
    return chosen @ chosen.T


def _bandwidth(gram: Tensor, scale: float) -> float:
    """`scale` times the median distance (the lower of two); NaN where it is lost in rounding."""
    lengths = gram.diagonal()
    squares = lengths[:, None] + lengths - 2 * gram
    rows, columns = torch.tril_indices(len(gram), len(gram), offset=-1, device=gram.device)
    # Squaring keeps the order, so the median of the squares is the square of the median.
    median = float(squares[rows, columns].median())
    resolved = median > 16 * torch.finfo(gram.dtype).eps * float(lengths.median())
    return scale * math.sqrt(median) if resolved else math.nan


def kernel_matrices(features: Array, scale: float) -> dict[str, tuple[Tensor, Kernel]]:
    """Linear and RBF kernel of a subset as matrices, (n, n), with zeros on the diagonal."""
    x = centred(features)
    gram, lengths = x @ x.T, squared_lengths(x)
    square = _bandwidth(gram, scale) ** 2
    scaled = lengths / square
    rbf = _rbf(gram / square, scaled, scaled, scale).fill_diagonal_(0)
    gram.fill_diagonal_(0)
    same = torch.full_like(lengths, _diagonal(scale))
    return {
        "linear": (gram, Kernel(-lengths, lengths, sum_of_products(gram, gram))),
        "rbf": (rbf, Kernel(rbf.sum(1).double(), same, sum_of_products(rbf, rbf))),
    }
