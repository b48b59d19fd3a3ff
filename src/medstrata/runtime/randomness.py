"""Counter-based randomness: every draw is a function of named integers, never of what ran before.

The generator is SplitMix64's finaliser (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)
applied to a chained hash of the coordinates. NumPy's own distributions may change between
releases; these numbers cannot, so a run made today is resumed exactly by next year's NumPy.
"""

import numpy as np
from numpy.typing import NDArray

_GROUPS, _MEMBERS = -1, -2  # what a draw is for; sample numbers, the other use, are 0 or more
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: a bijection of 64-bit words in which each input bit flips half the output."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _words(coordinates: tuple[int | NDArray[np.int64], ...]) -> NDArray[np.uint64]:
    state = np.zeros(1, dtype=np.uint64)
    for coordinate in coordinates:
        value = np.atleast_1d(np.asarray(coordinate, dtype=np.int64)).view(np.uint64)
        state = _mix((state + _GOLDEN) ^ _mix(value + _GOLDEN))
    return state


def uniforms(count: int, *coordinates: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Independent uniform numbers that depend on the coordinates alone.

    Args:
        count: Numbers wanted for each coordinate.
        coordinates: Integers that name the draw, such as seed, epoch, sample numbers, view. At
            most one is an array of shape (N,); the draws of its entries are independent.

    Returns:
        Shape (N, count), or (1, count) without an array; each in [0, 1).
    """
    words = _words(coordinates)[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
    return np.asarray(_mix(words) >> np.uint64(11), dtype=np.float64) * 2.0**-53


def permutation(length: int, *coordinates: int) -> NDArray[np.int64]:
    """A random order of `range(length)` that depends on the coordinates alone, shape (length,)."""
    numbers = np.arange(length, dtype=np.int64)
    return np.argsort(_words((*coordinates, numbers)), kind="stable").astype(np.int64)


def windowed_permutation(
    groups: NDArray[np.int64] | NDArray[np.int32], window: int, *coordinates: int
) -> NDArray[np.int64]:
    """A random order in which few groups are open at a time, whatever their number.

    The groups stand in random order on a ring, one step apart. Each member is moved on by a random
    distance of up to `window` steps, and the order is that along the ring: everywhere on it only
    members of about `window` groups meet, in equal shares, and each step one group ends and one
    begins.

    Args:
        groups: Group of each member, shape (N,).
        window: Groups that mix, 1 or more; from their number on, all do, as in `permutation`.
        coordinates: Integers that name the draw.

    Returns:
        Shape (N,), a permutation of `range(N)` that depends on the arguments alone.
    """
    names, group = np.unique(groups, return_inverse=True)
    place = np.argsort(permutation(len(names), *coordinates, _GROUPS))
    numbers = np.arange(len(groups), dtype=np.int64)
    moved = min(window, len(names)) * uniforms(1, *coordinates, _MEMBERS, numbers)[:, 0]
    ring = (place[group] + moved) % max(1, len(names))
    return np.argsort(ring, kind="stable").astype(np.int64)


def derive_seed(*coordinates: int) -> int:
    """One integer in [0, 2^63) for generators that want a seed."""
    return int(_words(coordinates)[0] >> np.uint64(1))
