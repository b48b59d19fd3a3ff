"""How many directions features use, how long they are, and whether they tell images apart.

Legend: N images, D feature size.
"""

import numpy as np
from numpy.typing import NDArray

# Added to each share of RankMe, as in the paper, for the logarithm.
_EPSILON = 1e-7


def effective_rank(features: NDArray[np.float32]) -> float:
    """Exponential of the entropy of the centred features' normalised singular values.

    Args:
        features: Shape (N, D).

    Returns:
        Between 1 (all images on one line) and min(N - 1, D); 0 when all images are the same.

    Source: Roy and Vetterli 2007, "The effective rank", definition 1.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    values = _singular_values(centred)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def rankme(features: NDArray[np.float32]) -> float:
    """RankMe: as the effective rank, of features that are not centred, each share raised by 1e-7.

    Args:
        features: Shape (N, D).

    Returns:
        Between about 1 (all images on one line through 0) and min(N, D); 0 when all are 0.

    Source: Garrido et al. 2023, arXiv:2210.02885, equation 1.
    """
    values = _singular_values(features.astype(np.float64))
    if values.sum() == 0:
        return 0.0
    shares = values / values.sum() + _EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def feature_norm(features: NDArray[np.float32]) -> float:
    """Mean length of the features, (N, D): an intermediate MSE can fall by shrinking it."""
    return float(np.linalg.norm(features, axis=1).mean())


def spread(features: NDArray[np.float32]) -> float:
    """Deviation over images relative to the features' own size; 0 when all images look alike."""
    size = float(np.sqrt(np.square(features).mean()))
    return float(features.std(0).mean()) / size if size else 0.0


def _singular_values(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """All min(N, D) of them, from the smaller Gram matrix.

    Squares lose digits of the smallest values, which an entropy ignores.
    """
    gram = matrix.T @ matrix if len(matrix) > matrix.shape[1] else matrix @ matrix.T
    values: NDArray[np.float64] = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    return values
