"""CKA as the papers write it: whole kernels, float64, one line an equation."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def linear(x: Floats) -> Floats:
    return x @ x.T


def distances(x: Floats) -> Floats:
    return np.sqrt(np.square(x[:, None] - x[None]).sum(2))


def rbf(x: Floats, scale: float = 0.8) -> Floats:
    d = distances(x)
    between = np.sort(d[np.tril_indices(len(x), -1)])
    median = between[(len(between) - 1) // 2]  # the lower of two
    return np.exp(-np.square(d) / (2 * (scale * median) ** 2))


def hsic_0(k: Floats, l: Floats) -> float:  # noqa: E741  (as in the papers)
    """Gretton et al. 2005: tr(K H L H) / (n - 1)^2."""
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ h @ l @ h) / (n - 1) ** 2)


def hsic_1(k: Floats, l: Floats) -> float:  # noqa: E741
    """Song et al. 2012, eq. 5."""
    n, ones = len(k), np.ones(len(k))
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    total = np.trace(k @ l)
    total += (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    total -= 2 / (n - 2) * (ones @ k @ l @ ones)
    return float(total / (n * (n - 3)))


def cka(k: Floats, l: Floats, *, debiased: bool) -> float:  # noqa: E741
    hsic = hsic_1 if debiased else hsic_0
    return float(hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l)))


def features(samples: int, dimensions: int, others: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Two related sets of features, off centre and of unlike scale."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, dimensions)) + 3
    noise = generator.normal(size=(samples, others))
    return x, 7 * (x[:, :5] @ generator.normal(size=(min(5, dimensions), others)) + 2 * noise) - 40
