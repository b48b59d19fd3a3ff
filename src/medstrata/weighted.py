"""The metrics, each for many resamples in one pass.

A resample is a row of weights: a sample drawn twice has weight 2. Sorting, thresholding and binning
do not depend on the weights and are done once.

Every metric has the same arguments:
    target: Class numbers 0..K-1, shape (N,); multilabel: 0, 1 or NaN (unknown), shape (N, M).
    probability: Shape (N, M), in [0, 1]: binary M = 1, the probability of class 1; multiclass and
        ordinal one column per class; multilabel one column per label.
    kind: Of the task. Kappa wants ordered classes; accuracy and balanced accuracy want one class
        per sample.
    weights: How often each resample holds each sample, 0 or more, shape (R, N); None scores the
        samples as they are, once.

Undefined values. Some scores do not exist for a class in a resample: AUROC and average precision
where the class has no positive or no negative sample, F1 and recall where no sample belongs to it,
anything where no sample has a known label. Such a class is left out of that resample's macro mean;
a resample in which no class is defined scores NaN.

Shape letters: N samples, M columns of probability, R resamples.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["binary", "multiclass", "multilabel", "ordinal"]
Floats = NDArray[np.float64]

CALIBRATION_BINS = 15
_THRESHOLD = 0.5


def macro_auroc(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Probability that a positive sample is ranked above a negative one, a tie counting half.

    Binary: of class 1. Multiclass and ordinal: each class against the rest, then the mean of the
    classes. Multilabel: the mean of the labels, each over the samples where it is known.

    Returns:
        Shape (R,), in [0, 1]: 0.5 for chance, 1 for a perfect ranking. Only the order of the
        probabilities counts.

    Source: Hanley, McNeil 1982, doi:10.1148/radiology.143.1.7063747 (Mann-Whitney form).
    """
    return _mean_over_columns(_auroc, *_columns(target, probability, kind), weights)


def average_precision(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Precision at each positive sample, averaged: the area under the precision-recall steps.

    Precision is taken at the threshold that includes all samples of equal probability; nothing is
    interpolated. Classes and labels are averaged as by `macro_auroc`.

    Returns:
        Shape (R,), in (0, 1]: the share of positives for chance, 1 for a perfect ranking.

    Source: Boyd, Eng, Page 2013, doi:10.1007/978-3-642-40994-3_29.
    """
    return _mean_over_columns(_average_precision, *_columns(target, probability, kind), weights)


def macro_f1(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Harmonic mean of precision and recall, averaged over the classes or labels.

    A binary task has two classes, and both count; class 1 and a label of a multilabel task are
    predicted from a probability of 0.5 on. Otherwise the most probable class is predicted, the
    first of equals.

    Returns:
        Shape (R,), in [0, 1]; 1 when every prediction is right.

    Source: 2 tp / (2 tp + fp + fn); van Rijsbergen 1979, Information Retrieval, ch. 7.
    """
    truth, predicted = _decisions(target, probability, kind)
    weights = _rows(weights, len(truth))
    positives = weights @ truth
    hits = weights @ (truth * predicted)
    scores = _divide(2 * hits, positives + weights @ predicted)
    return _mean_defined(np.where(positives > 0, scores, np.nan))


def quadratic_kappa(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Agreement beyond chance of ordered grades, a miss costing its squared distance in grades.

    The cost of the confusion matrix is summed over the samples, and that expected by chance from
    the two sums of its margins, so the matrix itself is never formed.

    Returns:
        Shape (R,), in [-1, 1]: 1 for perfect agreement, 0 for chance. Undefined where target and
        prediction are one and the same grade throughout.

    Source: Cohen 1968, doi:10.1037/h0026256.
    """
    truth, predicted = _decisions(target, probability, kind)
    weights = _rows(weights, len(truth))
    grades = np.arange(truth.shape[1])
    cost = np.square(grades[:, None] - grades).astype(np.float64)
    observed = weights @ np.square(truth @ grades - predicted @ grades)
    expected = (((weights @ truth) @ cost) * (weights @ predicted)).sum(axis=1)
    return 1 - _divide(observed * weights.sum(axis=1), expected)


def accuracy(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Share of samples whose class is predicted; classes are predicted as by `macro_f1`.

    Returns:
        Shape (R,), in [0, 1].
    """
    truth, predicted = _decisions(target, probability, kind)
    right = (truth * predicted).sum(axis=1)
    return _mean_over_samples(right[:, None], weights)


def balanced_accuracy(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Share of samples whose class is predicted, in each class, then the mean of the classes.

    Returns:
        Shape (R,), in [0, 1]: one over the number of classes for chance.
    """
    truth, predicted = _decisions(target, probability, kind)
    weights = _rows(weights, len(truth))
    return _mean_defined(_divide(weights @ (truth * predicted), weights @ truth))


def brier(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Mean squared difference between the probability and what came true; lower is better.

    Binary: of class 1. Multiclass and ordinal: summed over the classes. Multilabel: the mean of
    the labels, each over the samples where it is known.

    Returns:
        Shape (R,), in [0, 1]; in [0, 2] for multiclass and ordinal. 0 for certain and right.

    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; the binary form counts
        one of the two classes.
    """
    scores, truth = _columns(target, probability, kind)
    errors = np.square(scores - truth)
    if kind in ("multiclass", "ordinal"):
        errors = errors.sum(axis=1, keepdims=True)
    return _mean_over_samples(errors, weights)


def ece(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind, weights: Floats | None = None
) -> Floats:
    """Expected calibration error: how far probabilities are from frequencies; lower is better.

    Samples are put into 15 bins of equal width by probability, each bin open below and closed
    above; the difference between mean probability and frequency is averaged over the bins by
    weight. Binary: the probability and frequency of class 1. Multiclass and ordinal: the
    probability of the predicted class, and how often it is right. Multilabel: the mean of the
    labels, each over the samples where it is known.

    Returns:
        Shape (R,), in [0, 1]; 0 for perfect calibration.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    scores, truth = _columns(target, probability, kind)
    if kind in ("multiclass", "ordinal"):
        chosen = scores.argmax(axis=1)[:, None]
        scores = np.take_along_axis(scores, chosen, axis=1)
        truth = np.take_along_axis(truth, chosen, axis=1)
    return _mean_over_columns(_calibration_error, scores, truth, weights)


def _mean_over_columns(
    compute: Callable[[Floats, Floats, Floats], Floats],
    scores: Floats,
    truth: Floats,
    weights: Floats | None,
) -> Floats:
    """Mean of what `compute` gives for each column, where it is defined: (N, M) twice -> (R,)."""
    rows = _rows(weights, len(truth))
    pairs = zip(scores.T, truth.T, strict=True)
    return _mean_defined(np.stack([compute(*pair, rows) for pair in pairs], axis=1))


def _columns(target: NDArray[Any], probability: NDArray[Any], kind: Kind) -> tuple[Floats, Floats]:
    """Each column of probability with what came true: 0, 1 or NaN, both (N, M)."""
    scores = np.asarray(probability, dtype=np.float64)
    if kind == "multilabel":
        return scores, np.asarray(target, dtype=np.float64)
    if kind == "binary":
        return scores, np.asarray(target, dtype=np.float64)[:, None]
    return scores, np.eye(scores.shape[1])[np.asarray(target, dtype=np.int64)]


def _decisions(
    target: NDArray[Any], probability: NDArray[Any], kind: Kind
) -> tuple[Floats, Floats]:
    """True and predicted classes as 0 and 1, both (N, classes or labels); unknown is 0 in both."""
    scores = np.asarray(probability, dtype=np.float64)
    if kind == "multilabel":
        known = ~np.isnan(target)
        return np.nan_to_num(target).astype(np.float64), known * (scores >= _THRESHOLD) * 1.0
    if kind == "binary":
        classes, chosen = 2, (scores[:, 0] >= _THRESHOLD).astype(np.int64)
    else:
        classes, chosen = scores.shape[1], scores.argmax(axis=1)
    identity = np.eye(classes)
    return identity[np.asarray(target, dtype=np.int64)], identity[chosen]


def _rows(weights: Floats | None, count: int) -> Floats:
    return np.ones((1, count)) if weights is None else np.asarray(weights, dtype=np.float64)


def _auroc(scores: Floats, truth: Floats, weights: Floats) -> Floats:
    """AUROC of one column, (R,): weight of the pairs ranked rightly over that of all pairs."""
    negatives = _ascending(scores, np.flatnonzero(truth == 0))
    positives = _ascending(scores, np.flatnonzero(truth == 1))
    lower = np.searchsorted(scores[negatives], scores[positives], side="left")
    upper = np.searchsorted(scores[negatives], scores[positives], side="right")
    drawn = np.take(weights, positives, axis=1)
    others = np.take(weights, negatives, axis=1)
    # The negatives between `lower` and `upper` are tied with the positive: each counts half.
    below = _sums_before(others, np.append(lower, upper))
    beaten = (below[:, : len(lower)] + below[:, len(lower) :]) / 2
    return _divide((drawn * beaten).sum(axis=1), drawn.sum(axis=1) * others.sum(axis=1))


def _average_precision(scores: Floats, truth: Floats, weights: Floats) -> Floats:
    """Average precision of one column, (R,)."""
    order = _ascending(-scores, np.flatnonzero(~np.isnan(truth)))
    ranked = -scores[order]
    positives = np.flatnonzero(truth[order] == 1)
    # Places just past the samples that share a positive's score, among all and among positives.
    past = np.searchsorted(ranked, ranked[positives], side="right")
    past_positive = np.searchsorted(ranked[positives], ranked[positives], side="right")
    retrieved = _sums_before(np.take(weights, order, axis=1), past)
    drawn = np.take(weights, order[positives], axis=1)
    found = _sums_before(drawn, past_positive)
    # Where nothing is retrieved the positive itself has weight 0, and so has its precision.
    gains = drawn * _divide(found, retrieved, undefined=0.0)
    area = _divide(gains.sum(axis=1), drawn.sum(axis=1))
    return np.where(weights @ (truth == 0) > 0, area, np.nan)


def _calibration_error(scores: Floats, truth: Floats, weights: Floats) -> Floats:
    """Calibration error of one column, (R,); bins without weight count nothing."""
    known = ~np.isnan(truth)
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.searchsorted(edges, scores, side="left")
    gaps = np.where(known, scores - truth, 0.0)
    binned = np.eye(CALIBRATION_BINS)[bins] * gaps[:, None]  # (N, bins)
    return _divide(np.abs(weights @ binned).sum(axis=1), weights @ known)


def _sums_before(values: Floats, places: NDArray[np.int64]) -> Floats:
    """Sum of each row before each place, (R, n) and (p,) -> (R, p).

    A cumulative sum at the places asked for alone, which takes a third of the time.
    """
    ends, which = np.unique(np.append(places, (0, values.shape[1])), return_inverse=True)
    sums = np.zeros((len(values), len(ends)))
    np.cumsum(np.add.reduceat(values, ends[:-1], axis=1), axis=1, out=sums[:, 1:])
    return np.take(sums, which[:-2], axis=1)


def _mean_over_samples(values: Floats, weights: Floats | None) -> Floats:
    """Weighted mean of each column over its known samples, then of the columns: (N, M) -> (R,)."""
    known = ~np.isnan(values)
    rows = _rows(weights, len(values))
    return _mean_defined(_divide(rows @ np.where(known, values, 0.0), rows @ known))


def _mean_defined(scores: Floats) -> Floats:
    """Mean of each row over what is not NaN; NaN where nothing is: (R, M) -> (R,)."""
    defined = ~np.isnan(scores)
    return _divide(np.where(defined, scores, 0.0).sum(axis=1), defined.sum(axis=1))


def _divide(above: Floats, below: Floats, undefined: float = np.nan) -> Floats:
    """Quotient, with `undefined` where the divisor is 0."""
    quotient = np.full(above.shape, undefined)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def _ascending(scores: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.argsort(scores[rows])]
