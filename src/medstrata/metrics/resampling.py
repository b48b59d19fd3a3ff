"""Resamples of a test set as counts of its groups, and sums over every resample at once.

Shape letters: N samples, G groups, K columns, R resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.metrics.defaults import RESAMPLES

Floats = NDArray[np.float64]

# Numbers held at once: 2 MiB of running sums, about the cache of a core.
_BLOCK = 2**18


@dataclass(frozen=True)
class Resamples:
    """How often each resample holds each sample; the samples of a group come and go together.

    Attributes:
        counts: Of each group in each resample, 0 or more, shape (R, G). Whole numbers are summed as
            such, which is exact and several times as fast; fractions are allowed.
        groups: The group of each sample, 0..G-1, shape (N,).
    """

    counts: NDArray[Any]
    groups: NDArray[np.int64]

    def blocks(self, width: int) -> Iterator[NDArray[Any]]:
        """The counts, so many resamples at a time that `width` numbers of each fit the cache."""
        rows = max(1, _BLOCK // max(1, width))
        for start in range(0, len(self.counts), rows):
            yield self.counts[start : start + rows]

    def of(self, samples: NDArray[np.int64], counts: NDArray[Any]) -> NDArray[Any]:
        """How often a block of resamples holds each of some samples: (rows, G) -> (rows, n)."""
        return counts.take(self.groups[samples], axis=1)

    def totals(self, values: NDArray[Any]) -> Floats:
        """Sum of each column over every resample: (N, K) -> (R, K)."""
        size = self.counts.shape[1]
        by_group = np.stack(
            [np.bincount(self.groups, weights=column, minlength=size) for column in values.T],
            axis=1,
        )
        return np.concatenate([rows.astype(np.float64) @ by_group for rows in self.blocks(size)])


def original_sample(count: int) -> Resamples:
    """The samples as they are, as one resample that holds each of `count` samples once."""
    return Resamples(np.ones((1, 1), dtype=np.uint8), np.zeros(count, dtype=np.int64))


def resample_patients(
    patient_ids: NDArray[Any], count: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> Resamples:
    """Draw patients with replacement, as many as there are, each with all samples.

    Images of one patient are alike, so a patient is drawn whole. The resamples depend on ids and
    seed alone: those of two models of the same samples are the same.

    Args:
        patient_ids: Whose each sample is, shape (N,); any values that can be sorted.
        count: Samples, N.
        resamples: How many, 1 or more.
        seed: Of the resampling, 0 or more; the same ids and seed give the same resamples.

    Returns:
        Counts of the patients in sorted order, shape (R, P).

    Raises:
        ValueError: The ids do not match the samples, or `resamples` is below 1.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, section 6.2; whole clusters:
        Field, Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x.
    """
    if np.shape(patient_ids) != (count,):
        raise ValueError(
            f"patient_ids has shape {np.shape(patient_ids)}: give one id for each of the "
            f"{count} samples"
        )
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}: it must be 1 or more")
    patients, patient = np.unique(patient_ids, return_inverse=True)
    return Resamples(_patient_counts(len(patients), resamples, seed), patient)


@lru_cache(maxsize=4)  # many scores of one test set in a row would draw the same again
def _patient_counts(patients: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    generator = np.random.Generator(np.random.PCG64(seed))
    equal = np.full(patients, 1 / patients)
    # A byte is enough: a patient's count is Poisson-like with mean 1, or at most their number.
    counts = np.empty((resamples, patients), dtype=np.uint8)
    rows = max(1, _BLOCK // patients)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        counts[start : start + size] = generator.multinomial(patients, equal, size=size)
    counts.flags.writeable = False
    return counts


def running_sums(counts: NDArray[Any]) -> NDArray[Any]:
    """Sums of the first 0, 1, ... n numbers of each row: (rows, n) -> (rows, n + 1)."""
    # Integers add up in a quarter of the time of floats, whose sum waits for the one before it.
    kind = np.float64 if counts.dtype.kind == "f" else np.int64
    sums = np.zeros((len(counts), counts.shape[1] + 1), dtype=kind)
    np.cumsum(counts, axis=1, dtype=kind, out=sums[:, 1:])
    return sums
