"""Pairs of 64-bit fingerprints that differ in few bits, found without comparing all with all.

Multi-index hashing: of four bands of 16 bits, one at least has a quarter of the differing bits or
fewer. So only fingerprints are compared that agree in a band up to 0, 1 or 2 flipped bits.

Legend: N fingerprints, P pairs.

Source: Norouzi, Punjani, Fleet 2012, Fast Search in Hamming Space with Multi-Index Hashing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_BANDS, _BITS = 4, 16
_WIDE, _NARROW = 11, 7  # distances that 2 and 1 flipped bits of a band reach
_SMALL = 100_000  # fingerprints up to which the wide search takes seconds
_AT_ONCE = 2**21  # comparisons held in memory
_FACTOR = 2**32  # a pair as one number
_COMPARISONS = 2_000_000_000  # all in all: about a minute on one core
_LENGTHS = (65536, 4096, 1024, 256, 64, 16)  # of the list that one fingerprint is compared with

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NearPairs:
    """Pairs of distinct fingerprints.

    Attributes:
        first: Number of the lower fingerprint of each pair, shape (P,).
        second: Number of the higher one, shape (P,).
        radius: Bits that the kept pairs differ in at most.
        complete: Whether these are all pairs up to the radius. If not, many fingerprints share a
            band, and each was compared with those of them alone that stand next to it in order.
    """

    first: Rows
    second: Rows
    radius: int
    complete: bool


def near_pairs(fingerprints: Words, most: int) -> NearPairs:
    """Find the pairs that differ in few bits.

    The radius is 11 bits up to 100,000 fingerprints and 7 beyond; it shrinks until no more than
    `most` pairs are left. Time and memory are bounded whatever the fingerprints are.

    Args:
        fingerprints: Distinct, shape (N,).
        most: Pairs to keep, 1 or more.

    Returns:
        The pairs, in ascending order.
    """
    radius = _WIDE if len(fingerprints) <= _SMALL else _NARROW
    masks = _masks(radius // _BANDS)
    bands = [_Band.make(fingerprints, band) for band in range(_BANDS)]
    length = _length(bands, masks)
    complete = all(int(band.count.max(initial=0)) <= length for band in bands)
    kept = _Kept(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), radius)
    for band in bands:
        for mask in masks:
            # A radius that has shrunk needs fewer flips.
            if mask.bit_count() <= kept.radius // _BANDS:
                for pairs, distance in _band_pairs(band, mask, length, kept.radius):
                    kept = kept.joined(pairs, distance, most)
    kept = kept.nearest(most)
    if len(kept.pairs) > most:  # even the smallest distance has too many
        kept, complete = _Kept(kept.pairs[:most], kept.distance[:most], kept.radius), False
    first, second = np.divmod(kept.pairs, _FACTOR)
    return NearPairs(first, second, kept.radius, complete)


@dataclass(frozen=True)
class _Kept:
    """Pairs as `first * _FACTOR + second`, some maybe twice, with distances up to a radius."""

    pairs: Rows
    distance: Rows
    radius: int

    def joined(self, pairs: Rows, distance: Rows, most: int) -> "_Kept":
        near = distance <= self.radius
        both = _Kept(
            np.concatenate([self.pairs, pairs[near]]),
            np.concatenate([self.distance, distance[near]]),
            self.radius,
        )
        return both.nearest(most) if len(both.pairs) > 2 * most + _AT_ONCE else both

    def nearest(self, most: int) -> "_Kept":
        """Each pair once, and a radius up to which there are no more than `most` pairs."""
        pairs, first = np.unique(self.pairs, return_index=True)
        distance, radius = self.distance[first], self.radius
        while len(pairs) > most and radius > 1:
            radius -= 1
            near = distance <= radius
            pairs, distance = pairs[near], distance[near]
        return _Kept(pairs, distance, radius)


@dataclass(frozen=True)
class _Band:
    """Fingerprints in the order of one band, which is their 16 highest bits here.

    Attributes:
        words: Turned so that the band is on top, ascending, shape (N,).
        order: Number of each, shape (N,).
        start: Where the words of each value of the band start, shape (65536,).
        count: How many there are, shape (65536,).
    """

    words: Words
    order: Rows
    start: Rows
    count: Rows

    @staticmethod
    def make(fingerprints: Words, band: int) -> "_Band":
        turn = np.uint64(_BITS * band)
        words = fingerprints
        if band:
            words = (fingerprints << turn) | (fingerprints >> (np.uint64(64) - turn))
        order = np.argsort(words, kind="stable").astype(np.int64)
        words = words[order]
        count = np.bincount((words >> np.uint64(48)).astype(np.int64), minlength=2**_BITS)
        count = count.astype(np.int64)
        return _Band(words, order, np.cumsum(count) - count, count)


def _masks(flips: int) -> list[int]:
    """Bits of a band that may differ: none, each one, each two."""
    bits = [chosen for n in range(flips + 1) for chosen in combinations(range(_BITS), n)]
    return [sum(1 << bit for bit in chosen) for chosen in bits]


def _length(bands: list[_Band], masks: list[int]) -> int:
    """The longest list that one fingerprint can be compared with within all comparisons."""
    values = np.arange(2**_BITS)
    for length in _LENGTHS[:-1]:
        work = sum(
            float(band.count @ np.minimum(band.count[values ^ mask], length)) / 2
            for band in bands
            for mask in masks
        )
        if work <= _COMPARISONS:
            return length
    return _LENGTHS[-1]


def _band_pairs(band: _Band, mask: int, length: int, radius: int) -> Iterator[tuple[Rows, Rows]]:
    """Near pairs whose bands differ in the bits of the mask, and their distances."""
    low, high = _ranges(band, mask, length)
    ends = np.cumsum(high - low)
    begin = 0
    while begin < len(ends):
        before = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        sizes = (high - low)[begin:stop]
        one = np.repeat(np.arange(begin, stop), sizes)
        other = np.arange(len(one)) + np.repeat(low[begin:stop] - (np.cumsum(sizes) - sizes), sizes)
        distance = np.bitwise_count(band.words[one] ^ band.words[other])
        near = np.flatnonzero(distance <= radius)
        a, b = band.order[one[near]], band.order[other[near]]
        yield np.minimum(a, b) * _FACTOR + np.maximum(a, b), distance[near].astype(np.int64)
        begin = stop


def _ranges(band: _Band, mask: int, length: int) -> tuple[Rows, Rows]:
    """For each word, where the words stand that it is to be compared with; each pair once."""
    position = np.arange(len(band.words))
    value = (band.words >> np.uint64(48)).astype(np.int64)
    target = value ^ mask
    low, high = band.start[target], band.start[target] + band.count[target]
    if not mask:
        return position + 1, np.minimum(high, position + 1 + length)
    long = np.flatnonzero(high - low > length)
    if len(long):
        flipped = band.words[long] ^ (np.uint64(mask) << np.uint64(48))
        middle = np.searchsorted(band.words, flipped) - length // 2
        low[long] = np.clip(middle, low[long], high[long] - length)
        high[long] = low[long] + length
    once = value < target
    return np.where(once, low, 0), np.where(once, high, 0)
