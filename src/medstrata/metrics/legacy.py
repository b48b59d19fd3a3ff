"""Figures as the paper's published code computed them, to stand beside the right ones only.

Shape letters: N samples, M columns of probability, D features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.intervals import Interval, resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.resampling import resample_patients

_RESAMPLES = 500


def interval(
    name: str,
    target: NDArray[Any],
    probability: NDArray[Any],
    kind: TaskKind,
    *,
    seed: int = 0,
) -> Interval:
    """Mean ± 1.96 sd / √500 over 500 bootstrap resamples of the images.

    Not to be used: the divisor makes it some 22 times too narrow, since the sd of the resamples
    is itself the standard error, and more resamples would narrow it at will.

    The sd is taken over resamples and labels mixed, as the code did for several labels, so that how
    the labels differ counts as uncertainty; images are drawn singly, as if each were of a patient
    of its own.

    Args:
        name: One of `metric.metrics_of_kind(kind)`.
        target: As for `intervals.score`.
        probability: As for `intervals.score`, shape (N, M).
        kind: Of the task.
        seed: Of the resampling, 0 or more.

    Returns:
        The score of the images as they are, the two ends, which lie about the mean of the
        resamples, and the resamples that have a value.

    Raises:
        ValueError: As for `intervals.score`.

    Source: the authors' code, github.com/aakashrkaku/intermdiate_layer_matter_ssl at 6b9cffe.
    """
    value = score(name, target, probability, kind)
    images = np.arange(len(target))
    drawn = resample_patients(images, len(images), resamples=_RESAMPLES, seed=seed)
    columns = [slice(None)]
    if kind == "multilabel":
        columns = [slice(label, label + 1) for label in range(probability.shape[1])]
    scores = np.stack(
        [
            resampled_scores(
                name,
                target[:, some] if kind == "multilabel" else target,
                probability[:, some],
                kind,
                drawn,
            )
            for some in columns
        ]
    )
    centre, half = np.nanmean(scores), 1.96 * np.nanstd(scores) / np.sqrt(_RESAMPLES)
    used = int(np.count_nonzero(~np.isnan(scores).all(axis=0)))
    return Interval(
        value=value, low=float(centre - half), high=float(centre + half), resamples=used
    )


def rbf_cka(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    scale: float = 0.8,
    subsets: int = 50,
    size: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Biased CKA with RBF kernels of one absolute width, on random subsets of the images.

    Not to be used: where features lie further apart than the width the kernel is the identity, and
    any two sets of features score 1, unrelated ones too.

    Args:
        first: Features of N images, shape (N, D).
        second: Other features of the same images in the same order, shape (N, any).
        scale: Width of the kernel exp(-d² / (2 scale²)), whatever the scale of the features.
        subsets: Random subsets.
        size: Images in each; all where there are fewer.
        seed: Of the subsets, 0 or more.

    Returns:
        A value for each subset, shape (subsets,), in [0, 1]; the code reported mean and sd.

    Raises:
        ValueError: The numbers of images differ.

    Source: Kornblith et al. 2019, arXiv:1905.00414, eq. 3 and 4, with the width of the authors'
        code, github.com/aakashrkaku/intermdiate_layer_matter_ssl at 6b9cffe.
    """
    if len(first) != len(second):
        raise ValueError(
            f"features of {len(first)} and {len(second)} images: give both of the same images"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    values = []
    for _ in range(subsets):
        some = generator.permutation(len(first))[:size]
        one, other = (_centred_kernel(features[some], scale) for features in (first, second))
        norms = np.linalg.norm(one) * np.linalg.norm(other)
        values.append(float((one * other).sum() / norms))
    return np.array(values)


def _centred_kernel(features: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """RBF kernel with the mean of each row and column taken off, (n, D) -> (n, n)."""
    rows = np.asarray(features, dtype=np.float64)
    lengths = np.square(rows).sum(axis=1)
    squared = np.maximum(lengths[:, None] + lengths - 2 * rows @ rows.T, 0)
    kernel = np.exp(-squared / (2 * scale**2))
    across = kernel.mean(axis=0)
    return np.asarray(kernel - across - across[:, None] + across.mean())
