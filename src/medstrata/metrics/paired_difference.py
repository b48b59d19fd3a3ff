"""Two arms on the same patients: their difference and its test.

Shape letters: N samples, M columns of probability, R resamples, P patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.intervals import mean_of_models, percentile_ends
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import find_metric
from medstrata.metrics.resampling import Draws, Floats

_SWAPS = 1  # what a random number is for; the draws of patients have the plain seed
# Equal scores may differ by this much: sums of the same numbers in another order.
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more one arm scores than another on the same patients.

    Attributes:
        value: Mean score of the first arm less that of the second.
        low: Lower end of the interval over patients.
        high: Upper end.
        p_value: Of the two-sided permutation test, above 0 and at most 1.
        per_seed: The difference of each pair of models, in the order given.
        resamples: Resamples the ends come from: those asked for, less those that have no value.
    """

    value: float
    low: float
    high: float
    p_value: float
    per_seed: tuple[float, ...]
    resamples: int


def paired_difference(
    first: Sequence[Floats], second: Sequence[Floats], *, p_value: float, level: float = 0.95
) -> Difference:
    """Compare the mean scores of two arms over seeds, with a paired interval.

    Both arms are scored on the same draws of the patients, so what makes a draw easy or hard for
    both cancels. Interval and test speak of other patients, not of other seeds: `per_seed` shows
    how far those agree.

    Args:
        first: A (1 + R,) array for each seed of the first arm: its score of the samples as they
            are, then of each resample, as `resampled_scores` gives them.
        second: Those of the second, of the same resamples, its seeds in the same order.
        p_value: As `permutation_test` gives it.
        level: Share of the resamples inside the interval, above 0 and below 1.

    Raises:
        ValueError: There is no seed, the arms have not as many, or no resample has a value.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    between = [one - other for one, other in zip(first, second, strict=True)]
    per_seed = tuple(float(one[0]) for one in between)
    value = float(mean_of_models(per_seed))
    low, high, used = percentile_ends(mean_of_models([one[1:] for one in between]), level)
    return Difference(
        value=value, low=low, high=high, p_value=p_value, per_seed=per_seed, resamples=used
    )


def permutation_test(
    name: str,
    target: NDArray[Any],
    first: Sequence[NDArray[Any]],
    second: Sequence[NDArray[Any]],
    kind: TaskKind,
    patient_ids: NDArray[Any],
    *,
    permutations: int = 2000,
    seed: int = 0,
) -> float:
    """The two-sided p-value of the difference of two arms' mean scores over seeds.

    The test asks whether the arms could be exchanged: each patient's predictions change arms with
    probability 1/2, in all seeds at once, and the difference is taken anew. Metrics that read only
    the order of the probabilities are tested on ranks within each model, since two models need not
    be calibrated alike.

    Args:
        name: One of `metrics_of_kind(kind)`.
        target: As for `score`.
        first: Predictions of the first arm, as for `score`, one (N, M) array a seed.
        second: Predictions of the second, its seeds in the same order.
        kind: Of the task.
        patient_ids: Whose each sample is, shape (N,); any values that can be sorted.
        permutations: Random exchanges, 1 or more: the p-value is at least 1 / (permutations + 1).
        seed: Of the exchanges, 0 or more.

    Returns:
        The share of the exchanges whose difference is as large in absolute value, the arms as they
        are among them: (1 + count) / (1 + permutations).

    Raises:
        ValueError: `permutations` is below 1, or the arms have not as many seeds.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, eq. 15.18, with the count of
        Phipson, Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: it must be 1 or more")
    _, patient = np.unique(patient_ids, return_inverse=True)
    exchanged = _exchanged(patient, permutations, seed)
    differences = mean_of_models(
        [
            _differences(name, target, one, other, kind, exchanged)
            for one, other in zip(first, second, strict=True)
        ]
    )
    # "Not smaller" rather than "as large": an exchange without a value then counts as well.
    smaller = np.abs(differences[1:]) < np.abs(differences[0]) - ROUNDING
    return float(1 + np.count_nonzero(~smaller)) / (1 + permutations)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values for their number: those at most a are significant together at level a.

    The smallest is multiplied by their number, the next by one less, and so on; none ends below a
    smaller one, nor above 1. The chance of any false rejection is at most a, however the tests
    depend on one another.

    Args:
        p_values: In [0, 1], in any order.

    Returns:
        The adjusted values, in the same order.

    Raises:
        ValueError: A value is outside [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"p-values must lie in 0..1, got {list(p_values)}")
    order = np.argsort(values, kind="stable")
    multiplied = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return tuple(adjusted.tolist())


def _exchanged(patient: NDArray[np.int64], permutations: int, seed: int) -> Draws:
    """Draws from the samples of both arms, one after the other, that make up two new arms.

    The first half of the resamples are the new first arms, the second half the new second ones; the
    first of each half are the arms as they are.
    """
    count = int(patient.max()) + 1
    generator = np.random.Generator(np.random.PCG64([seed, _SWAPS]))
    swapped = generator.integers(2, size=(1 + permutations, count), dtype=np.uint8)
    swapped[0] = 0
    new_first = np.concatenate([1 - swapped, swapped], axis=1)  # (1 + permutations, 2 P)
    counts = np.concatenate([new_first, 1 - new_first])
    return Draws(counts, np.concatenate([patient, patient + count]))


def _differences(
    name: str,
    target: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    kind: TaskKind,
    exchanged: Draws,
) -> Floats:
    """Score of each new first arm less that of the new second: (1 + permutations,)."""
    arms = [first, second]
    if find_metric(name).reads_order:
        arms = [_ranks(arm, target, kind) for arm in arms]
    twice = np.concatenate([target, target])
    new_first, new_second = find_metric(name)(twice, np.concatenate(arms), kind, exchanged).reshape(
        2, -1
    )
    return np.asarray(new_first - new_second)


def _ranks(probability: NDArray[Any], target: NDArray[Any], kind: TaskKind) -> Floats:
    """Rank of each sample in its column among those of known label, over their number: (N, M)."""
    ranks = np.zeros(probability.shape)
    for column, values in enumerate(probability.T):
        known = ~np.isnan(target[:, column]) if kind == "multilabel" else np.full(len(target), True)
        _, place, ties = np.unique(values[known], return_inverse=True, return_counts=True)
        ranks[known, column] = (np.cumsum(ties) - (ties - 1) / 2)[place] / max(1, known.sum())
    return ranks
