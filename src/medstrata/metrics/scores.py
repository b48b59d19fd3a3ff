"""The metrics, each for many resamples in one pass.

A resample is a row of counts: a sample drawn twice counts twice. Sorting, thresholding and binning
do not depend on the counts and are done once.

Every metric has the arguments of `macro_auroc`.

Undefined values. Some scores do not exist for a class in a resample: AUROC and average precision
where the class has no positive or no negative sample, F1 and recall where no sample belongs to it,
anything where no sample has a known label. Such a class is left out of that resample's macro mean;
a resample in which no class is defined scores NaN.

Shape letters: N samples, M columns of probability, R resamples.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.resampling import Floats, Resamples, running_sums

CALIBRATION_BINS = 15
SPECIFICITY = 0.9
_THRESHOLD = 0.5
# Far above the rounding of fractional counts, far below one sample among a hundred million.
_SLACK = 1e-9


def macro_auroc(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Probability that a positive sample is ranked above a negative one, a tie counting half.

    Binary: of class 1. Multiclass and ordinal: each class against the rest, then the mean of the
    classes. Multilabel: the mean of the labels, each over the samples where it is known.

    Args:
        target: Class numbers 0..K-1, shape (N,); multilabel: 0, 1 or NaN (unknown), shape (N, M).
        probability: Shape (N, M), in [0, 1]: binary M = 1, the probability of class 1; multiclass
            and ordinal one column per class; multilabel one column per label.
        kind: Of the task.
        resamples: R resamples of the N samples.

    Returns:
        Shape (R,), in [0, 1]: 0.5 for chance, 1 for a perfect ranking. Only the order of the
        probabilities counts.

    Source: Hanley, McNeil 1982, doi:10.1148/radiology.143.1.7063747 (Mann-Whitney form).
    """
    return _mean_over_columns(_auroc, *_columns(target, probability, kind), resamples)


def average_precision(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Precision at each positive sample, averaged: the area under the precision-recall steps.

    Precision is taken at the threshold that includes all samples of equal probability; nothing is
    interpolated. Classes and labels are averaged as by `macro_auroc`.

    Arguments as of `macro_auroc`.

    Returns:
        Shape (R,), in (0, 1]: the share of positives for chance, 1 for a perfect ranking.

    Source: Boyd, Eng, Page 2013, doi:10.1007/978-3-642-40994-3_29.
    """
    return _mean_over_columns(_average_precision, *_columns(target, probability, kind), resamples)


def sensitivity_at_90(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Share of positive samples found when at least 90 % of the negative ones are left alone.

    A sample is called positive from a threshold on, and samples of equal probability share their
    fate: a threshold that would let through more than 10 % of the negatives, by however little,
    is passed over for the next higher one, and nothing is interpolated. Exactly 10 % is allowed.
    The threshold is chosen anew in each resample. Classes and labels are averaged as by
    `macro_auroc`.

    Arguments as of `macro_auroc`.

    Returns:
        Shape (R,), in [0, 1]: 0.1 or less for chance, 1 when some threshold finds all positives.
        Only the order of the probabilities counts.

    Source: the point of the empirical ROC curve (Pepe 2003, The Statistical Evaluation of Medical
        Tests, section 5.2) with the largest true positive rate at a false positive rate of 0.1.
    """
    return _mean_over_columns(_sensitivity, *_columns(target, probability, kind), resamples)


def macro_f1(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Harmonic mean of precision and recall, averaged over the classes or labels.

    A binary task has two classes, and both count; class 1 and a label of a multilabel task are
    predicted from a probability of 0.5 on. Otherwise the most probable class is predicted, the
    first of equals.

    Arguments as of `macro_auroc`.

    Returns:
        Shape (R,), in [0, 1]; 1 when every prediction is right.

    Source: 2 tp / (2 tp + fp + fn); van Rijsbergen 1979, Information Retrieval, ch. 7.
    """
    truth, predicted = _decisions(target, probability, kind)
    positives = resamples.totals(truth)
    hits = resamples.totals(truth * predicted)
    scores = _divide(2 * hits, positives + resamples.totals(predicted))
    return _mean_defined(np.where(positives > 0, scores, np.nan))


def quadratic_kappa(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Agreement beyond chance of ordered grades, a miss costing its squared distance in grades.

    The cost of the confusion matrix is summed over the samples, and that expected by chance from
    the two sums of its margins, so the matrix itself is never formed.

    Arguments as of `macro_auroc`. The kind is `ordinal`.

    Returns:
        Shape (R,), in [-1, 1]: 1 for perfect agreement, 0 for chance. Undefined where target and
        prediction are one and the same grade throughout.

    Source: Cohen 1968, doi:10.1037/h0026256.
    """
    truth, predicted = _decisions(target, probability, kind)
    grades = np.arange(truth.shape[1])
    cost = np.square(grades[:, None] - grades).astype(np.float64)
    observed = resamples.totals(np.square((truth - predicted) @ grades)[:, None])[:, 0]
    actual = resamples.totals(truth)
    expected = ((actual @ cost) * resamples.totals(predicted)).sum(axis=1)
    return 1 - _divide(observed * actual.sum(axis=1), expected)


def accuracy(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Share of samples whose class is predicted; classes are predicted as by `macro_f1`.

    Arguments as of `macro_auroc`. Of every kind but `multilabel`.

    Returns:
        Shape (R,), in [0, 1].
    """
    truth, predicted = _decisions(target, probability, kind)
    right = (truth * predicted).sum(axis=1)
    return _mean_over_samples(right[:, None], resamples)


def balanced_accuracy(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Share of samples whose class is predicted, in each class, then the mean of the classes.

    Arguments as of `macro_auroc`. Of every kind but `multilabel`.

    Returns:
        Shape (R,), in [0, 1]: one over the number of classes for chance.
    """
    truth, predicted = _decisions(target, probability, kind)
    return _mean_defined(_divide(resamples.totals(truth * predicted), resamples.totals(truth)))


def brier(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Mean squared difference between the probability and what came true; lower is better.

    Binary: of class 1. Multiclass and ordinal: summed over the classes. Multilabel: the mean of
    the labels, each over the samples where it is known.

    Arguments as of `macro_auroc`.

    Returns:
        Shape (R,), in [0, 1]; in [0, 2] for multiclass and ordinal. 0 for certain and right.

    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; the binary form counts
        one of the two classes.
    """
    scores, truth = _columns(target, probability, kind)
    errors = np.square(scores - truth)
    if kind in ("multiclass", "ordinal"):
        errors = errors.sum(axis=1, keepdims=True)
    return _mean_over_samples(errors, resamples)


def ece(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind, resamples: Resamples
) -> Floats:
    """Expected calibration error: how far probabilities are from frequencies; lower is better.

    Samples are put into 15 bins of equal width by probability, each bin open below and closed
    above; the difference between mean probability and frequency is averaged over the bins by
    weight. Binary: the probability and frequency of class 1. Multiclass and ordinal: the
    probability of the predicted class, and how often it is right. Multilabel: the mean of the
    labels, each over the samples where it is known.

    Arguments as of `macro_auroc`.

    Returns:
        Shape (R,), in [0, 1]; 0 for perfect calibration.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    scores, truth = _columns(target, probability, kind)
    if kind in ("multiclass", "ordinal"):
        chosen = scores.argmax(axis=1)[:, None]
        scores = np.take_along_axis(scores, chosen, axis=1)
        truth = np.take_along_axis(truth, chosen, axis=1)
    return _mean_over_columns(_calibration_error, scores, truth, resamples)


def _mean_over_columns(
    compute: Callable[[Floats, Floats, Resamples], Floats],
    scores: Floats,
    truth: Floats,
    resamples: Resamples,
) -> Floats:
    """Mean of what `compute` gives for each column, where it is defined: (N, M) twice -> (R,)."""
    pairs = zip(scores.T, truth.T, strict=True)
    return _mean_defined(np.stack([compute(*pair, resamples) for pair in pairs], axis=1))


def _columns(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind
) -> tuple[Floats, Floats]:
    """Each column of probability with what came true: 0, 1 or NaN, both (N, M)."""
    scores = np.asarray(probability, dtype=np.float64)
    if kind == "multilabel":
        return scores, np.asarray(target, dtype=np.float64)
    if kind == "binary":
        return scores, np.asarray(target, dtype=np.float64)[:, None]
    return scores, np.eye(scores.shape[1])[np.asarray(target, dtype=np.int64)]


def _decisions(
    target: NDArray[Any], probability: NDArray[Any], kind: TaskKind
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


def _auroc(scores: Floats, truth: Floats, resamples: Resamples) -> Floats:
    """AUROC of one column, (R,): weight of the pairs ranked rightly over that of all pairs."""
    areas = []
    for drawn, below, level, others in _against_negatives(scores, truth, resamples):
        beaten = below + level / 2
        areas.append(_divide((drawn * beaten).sum(axis=1), drawn.sum(axis=1) * (1.0 * others)))
    return np.concatenate(areas)


def _sensitivity(scores: Floats, truth: Floats, resamples: Resamples) -> Floats:
    """Sensitivity of one column at fixed specificity, (R,)."""
    shares = []
    for drawn, below, _, others in _against_negatives(scores, truth, resamples):
        # With the threshold at a positive, the negatives below it are those left alone.
        called = below >= (SPECIFICITY * (1 - _SLACK) * others)[:, None]
        share = _divide((drawn * called).sum(axis=1), drawn.sum(axis=1))
        shares.append(np.where(others > 0, share, np.nan))
    return np.concatenate(shares)


def _against_negatives(
    scores: Floats, truth: Floats, resamples: Resamples
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Blocks of resamples: the counts of the positives, and of the negatives they meet.

    Yields:
        How often each positive is drawn, how many negatives are drawn below it and level with it,
        all (rows, positives), and how many in all, (rows,).
    """
    negatives = _ascending(scores, np.flatnonzero(truth == 0))
    positives = _ascending(scores, np.flatnonzero(truth == 1))
    lower = np.searchsorted(scores[negatives], scores[positives], side="left")
    upper = np.searchsorted(scores[negatives], scores[positives], side="right")
    for counts in resamples.blocks(len(truth)):
        sums = running_sums(resamples.of(negatives, counts))
        below = sums.take(lower, axis=1)
        yield resamples.of(positives, counts), below, sums.take(upper, axis=1) - below, sums[:, -1]


def _average_precision(scores: Floats, truth: Floats, resamples: Resamples) -> Floats:
    """Average precision of one column, (R,)."""
    order = _ascending(-scores, np.flatnonzero(~np.isnan(truth)))
    ranked = -scores[order]
    positives = np.flatnonzero(truth[order] == 1)
    # Places just past the samples that share a positive's score, among all and among positives.
    past = np.searchsorted(ranked, ranked[positives], side="right")
    past_positive = np.searchsorted(ranked[positives], ranked[positives], side="right")
    areas = []
    for counts in resamples.blocks(len(truth)):
        sums = running_sums(resamples.of(order, counts))
        drawn = resamples.of(order[positives], counts)
        retrieved = running_sums(drawn)
        # Where nothing is retrieved the positive itself is not drawn, and gains nothing.
        precision = _divide(
            retrieved.take(past_positive, axis=1), sums.take(past, axis=1), undefined=0.0
        )
        area = _divide((drawn * precision).sum(axis=1), retrieved[:, -1])
        areas.append(np.where(sums[:, -1] > retrieved[:, -1], area, np.nan))
    return np.concatenate(areas)


def _calibration_error(scores: Floats, truth: Floats, resamples: Resamples) -> Floats:
    """Calibration error of one column, (R,); bins without weight count nothing."""
    known = ~np.isnan(truth)
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.searchsorted(edges, scores, side="left")
    gaps = np.where(known, scores - truth, 0.0)
    binned = np.eye(CALIBRATION_BINS)[bins] * gaps[:, None]  # (N, bins)
    return _divide(
        np.abs(resamples.totals(binned)).sum(axis=1), resamples.totals(known[:, None])[:, 0]
    )


def _mean_over_samples(values: Floats, resamples: Resamples) -> Floats:
    """Mean of each column over its known samples, then of the columns: (N, M) -> (R,)."""
    known = ~np.isnan(values)
    sums = resamples.totals(np.where(known, values, 0.0))
    return _mean_defined(_divide(sums, resamples.totals(known)))


def _mean_defined(scores: Floats) -> Floats:
    """Mean of each row over what is not NaN; NaN where nothing is: (R, M) -> (R,)."""
    defined = ~np.isnan(scores)
    return _divide(np.where(defined, scores, 0.0).sum(axis=1), defined.sum(axis=1))


def _divide(above: NDArray[Any], below: NDArray[Any], undefined: float = np.nan) -> Floats:
    """Quotient, with `undefined` where the divisor is 0."""
    quotient = np.full(above.shape, undefined)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def _ascending(scores: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.argsort(scores[rows])]
