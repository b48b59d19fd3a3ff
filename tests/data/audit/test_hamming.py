"""Near pairs of bits are found, all of them, and the search stays bounded."""

import numpy as np
import pytest

from medstrata.data.audit import hamming
from medstrata.data.audit.hamming import near_pairs


def random_words(count: int, seed: int, share: float = 0.5) -> np.ndarray:
    bits = np.random.default_rng(seed).random((count, 64)) < share
    return np.unique(np.packbits(bits, axis=1).view(np.uint64).ravel())


def brute_force(words: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    distance = np.bitwise_count(words[:, None] ^ words[None])
    first, second = np.nonzero(np.triu(distance <= radius, 1))
    values = distance[first, second]
    return list(zip(first.tolist(), second.tolist(), values.tolist(), strict=True))


def searched(words: np.ndarray, most: int = 10**6):
    found = near_pairs(words, most)
    distance = np.bitwise_count(words[found.first] ^ words[found.second])
    columns = (found.first.tolist(), found.second.tolist(), distance.tolist())
    return found, list(zip(*columns, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_search_equals_brute_force(seed):
    words = random_words(800, seed, share=0.2)  # bits that lean one way: many near pairs
    found, got = searched(words)
    assert found.complete
    assert found.radius == 11
    assert got == brute_force(words, 11)
    assert len(got) > 100


def test_search_of_many_equals_brute_force_up_to_its_radius(monkeypatch):
    monkeypatch.setattr(hamming, "_SMALL", 100)
    words = random_words(800, 7, share=0.2)
    found, got = searched(words)
    assert found.radius == 7
    assert got == brute_force(words, 7)


def test_radius_shrinks_to_what_may_be_kept():
    words = random_words(3000, 1, share=0.1)
    found, got = searched(words, most=500)
    assert found.radius < 11
    assert 0 < len(got) <= 500
    assert got == brute_force(words, found.radius)
    assert len(brute_force(words, found.radius + 1)) > 500


def test_huge_bucket_stays_bounded(monkeypatch):
    """All fingerprints share a band, and each is compared with a few neighbours alone."""
    monkeypatch.setattr(hamming, "_COMPARISONS", 2_000_000)
    words = random_words(20_000, 3) & np.uint64(0x0000FFFFFFFFFFFF)
    words = np.unique(np.append(words, words[:50] ^ np.uint64(1)))
    compared = 0
    count = np.bitwise_count

    def counting(values):
        nonlocal compared
        compared += len(values)
        return count(values)

    monkeypatch.setattr(np, "bitwise_count", counting)
    found = near_pairs(words, 1000)
    assert not found.complete
    assert compared < 4_000_000
    assert len(found.first) <= 1000
    distance = count(words[found.first] ^ words[found.second])
    assert (distance == 1).sum() == 50


def test_search_of_nothing_and_one():
    for words in (np.zeros(0, np.uint64), np.zeros(1, np.uint64)):
        assert len(near_pairs(words, 10).first) == 0
