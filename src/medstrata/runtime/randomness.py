"""Counter-based randomness: every draw is a function of named integers, never of what ran before.

The generator is SplitMix64's finaliser (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)
applied to a chained hash of the coordinates. NumPy's own distributions may change between
releases; these numbers cannot, so a run made today is resumed exactly by next year's NumPy.
"""

import hashlib
from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


# Goes up when equal seeds draw anew, so that nothing is finished with draws of another kind.
DRAWS_VERSION = 3


class Stream(IntEnum):
    """What a draw is for: its first coordinate, so that no two purposes can draw alike.

    The numbers decide finished runs. One that is no longer needed is not given to another.
    """

    WEIGHTS = 1
    QUEUE = 2
    BATCH_ORDER = 3
    BATCH_ORDER_OF_SHARDS = 4
    BATCH_ORDER_IN_SHARDS = 5
    VIEWS = 6
    KEY_SHUFFLE = 7
    MONITOR = 8
    MONITORED_SHARDS = 9
    MONITORED_IMAGES = 10
    SPLIT = 11
    LABEL_FRACTION = 12
    EVALUATED_WEIGHTS = 13
    FINETUNING_ORDER = 14
    ATLAS_QUERIES = 15
    ATLAS_MAP = 16
    REUSE_IMAGES = 17
    REUSE_SUBSET = 18
    REUSE_UNTRAINED = 19
    MISMATCHED_PATIENTS = 20
    MISMATCHED_IMAGES = 21
    MISMATCHED_SHIFT = 22
    OVERLAP_PATIENTS = 23
    OVERLAP_IMAGES = 24
    SHORTCUT_IMAGES = 25
    SHORTCUT_FOLDS = 26
    SYNTHETIC_ORDER = 28
    SYNTHETIC_CHANGE = 29
    SYNTHETIC_ANATOMY = 30
    SYNTHETIC_VESSELS = 31
    SYNTHETIC_POSE = 32
    SYNTHETIC_EXPOSURE = 33
    SYNTHETIC_FORM = 34
    SYNTHETIC_FIELD = 35
    SYNTHETIC_CROSSING = 36
    SYNTHETIC_GRAIN = 37
    SYNTHETIC_NOISE = 38
    STANDARDISING_IMAGES = 39
    SYNTHETIC_STAIN = 40


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


def uniforms(
    count: int, stream: Stream, *coordinates: int | NDArray[np.int64]
) -> NDArray[np.float64]:
    """Independent uniform numbers that depend on the stream and the coordinates alone.

    Args:
        count: Numbers wanted for each coordinate.
        stream: What they are for.
        coordinates: Integers that name the draw within it, such as seed, epoch, sample numbers,
            view. At most one is an array of shape (N,); the draws of its entries are independent.

    Returns:
        Shape (N, count), or (1, count) without an array; each in [0, 1).
    """
    words = _words((stream, *coordinates))[:, None] + _GOLDEN * np.arange(
        1, count + 1, dtype=np.uint64
    )
    return np.asarray(_mix(words) >> np.uint64(11), dtype=np.float64) * 2.0**-53


def hash_texts(texts: Iterable[str]) -> NDArray[np.int64]:
    """A stable 64-bit hash of each text, shape (N,): the coordinate of what has a name."""
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype="<i8").astype(np.int64)


def permutation(length: int, stream: Stream, *coordinates: int) -> NDArray[np.int64]:
    """A random order of `range(length)` that depends on the rest alone, shape (length,)."""
    numbers = np.arange(length, dtype=np.int64)
    return np.argsort(_words((stream, *coordinates, numbers)), kind="stable").astype(np.int64)


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
        coordinates: Integers that name the draw, such as seed and epoch.

    Returns:
        Shape (N,), a permutation of `range(N)` that depends on the arguments alone.
    """
    names, group = np.unique(groups, return_inverse=True)
    place = np.argsort(permutation(len(names), Stream.BATCH_ORDER_OF_SHARDS, *coordinates))
    numbers = np.arange(len(groups), dtype=np.int64)
    moved = uniforms(1, Stream.BATCH_ORDER_IN_SHARDS, *coordinates, numbers)[:, 0]
    ring = (place[group] + min(window, len(names)) * moved) % max(1, len(names))
    return np.argsort(ring, kind="stable").astype(np.int64)


def derive_seed(stream: Stream, *coordinates: int) -> int:
    """One integer in [0, 2^63) for generators that want a seed."""
    return int(_words((stream, *coordinates))[0] >> np.uint64(1))
