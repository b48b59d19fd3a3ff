"""Figures as the paper's authors computed them, errors included; only ever beside the right ones.

Source: their code, github.com/aakashrkaku/intermdiate_layer_matter_ssl at 6b9cffe.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def absolute_sigma_cka(
    x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], sigma: float = 0.8
) -> float:
    """Biased RBF CKA with a bandwidth that knows nothing of the features' scale.

    Where samples are many bandwidths apart both kernels are the identity, and any two sets of
    features have a similarity of 1; see `similarity.rbf_cka`.

    Args:
        x: Features of n samples, shape (n, D); an n x n matrix is held for each side.
        y: Other features of the same samples in the same order, shape (n, E).
        sigma: Bandwidth of exp(-d^2 / (2 sigma^2)), in the units of the features.

    Returns:
        Between 0 and 1.
    """
    first, second = (_centred_kernel(np.asarray(side, np.float64), sigma) for side in (x, y))
    own = np.vdot(first, first) * np.vdot(second, second)
    return float(np.vdot(first, second) / np.sqrt(own))


def _centred_kernel(x: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    x = x - x.mean(0)
    squares = np.square(x).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0)
    kernel = np.exp(-distances / (2 * sigma**2))
    means = kernel.mean(0)
    centred: NDArray[np.float64] = kernel - means[:, None] - means + means.mean()
    return centred
