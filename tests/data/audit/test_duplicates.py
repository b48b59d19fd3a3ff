"""Copies are found, images that are only alike are not, and the search stays bounded."""

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.audit import hamming
from medstrata.data.audit.duplicates import LIKENESS, bound_patients, connected, find_duplicates
from medstrata.data.audit.fingerprints import describe
from medstrata.data.audit.hamming import near_pairs
from medstrata.data.audit.likeness import detail, likeness, overlap_correlation
from medstrata.data.audit.overlaps import find_overlaps
from medstrata.data.synthetic import FAMILIES, draw_image

SIZE = 96


def picture(seed: int, channels: int = 1) -> np.ndarray:
    """A synthetic chest; colour is a tint of it."""
    grey = draw_image(seed % len(FAMILIES), seed, 0, size=SIZE)
    tint = np.array([1.0, 0.8, 0.7])[:channels]
    return (grey[..., None] * tint).astype(np.uint8)


def encoded(pixels: np.ndarray, quality: int = 60) -> np.ndarray:
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED).reshape(pixels.shape)


def brightened(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels * 1.15 + 15, 0, 255).astype(np.uint8)


def resized(pixels: np.ndarray) -> np.ndarray:
    small = cv2.resize(pixels, (70, 70), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIZE, SIZE)).reshape(pixels.shape)


def search(images: list[np.ndarray]):
    return find_duplicates(pd.DataFrame([describe(one) for one in images]), images.__getitem__)


def pairs(found) -> list[tuple[int, int]]:
    return list(zip(found.first.tolist(), found.second.tolist(), strict=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("change", [encoded, brightened, resized])
def test_changed_copies_are_found_and_nothing_else(change, channels):
    images = [picture(seed, channels) for seed in range(60)]
    copies = [change(images[seed]) for seed in range(0, 60, 3)]
    found = search(images + copies)
    assert pairs(found) == [(seed, 60 + place) for place, seed in enumerate(range(0, 60, 3))]
    assert len(np.unique(found.exact)) == 80
    assert found.likeness.min() >= LIKENESS
    assert found.complete


def test_equal_pixels_are_exact_and_not_near():
    images = [picture(seed) for seed in range(20)]
    found = search([*images, images[4], images[4], encoded(images[4])])
    assert found.exact[4] == found.exact[20] == found.exact[21]
    assert np.bincount(found.exact).tolist().count(1) == len(images)
    assert pairs(found) == [(4, 22)]


def test_images_without_structure_are_not_alike():
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    disc = np.hypot(x, y) < 0.95
    blurs = [(disc * (80 + 60 * slope * x + 40 * y)) for slope in (0.2, 0.5, 0.9)]
    blurs = [np.clip(one, 0, 255).astype(np.uint8)[..., None] for one in blurs]
    assert not any(detail(one).has_structure for one in blurs)
    assert likeness(detail(blurs[0]), detail(blurs[1])) == 0


def test_likeness_by_its_invariances():
    one, other = (detail(picture(seed)) for seed in (1, 2))
    assert likeness(one, one) == pytest.approx(1)
    assert likeness(one, other) == pytest.approx(likeness(other, one), abs=0.1)
    assert likeness(one, other) < 0.6
    inverted = detail(255 - picture(1))
    assert overlap_correlation(one, inverted, 0, 0)[0] < -0.9
    value, area = overlap_correlation(one, one, 12, -24)
    assert area <= 0.75 * 0.5
    assert value < 0.5


def test_black_and_white_images_break_nothing():
    flat = [np.full((SIZE, SIZE, 1), value, np.uint8) for value in (0, 0, 255, 128)]
    found = search([*flat, picture(0)])
    assert found.exact[0] == found.exact[1]
    assert pairs(found) == []


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
    columns = (found.first.tolist(), found.second.tolist(), found.distance.tolist())
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
    close = {(a, b) for a, b, d in zip(found.first, found.second, found.distance) if d == 1}  # noqa: B905
    assert len(close) == 50


def test_search_of_nothing_and_one():
    for words in (np.zeros(0, np.uint64), np.zeros(1, np.uint64)):
        assert len(near_pairs(words, 10).first) == 0


def test_connected_by_hand():
    assert connected(6, [(4, 1), (5, 4), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]


def bound(patients: list[str], near: list[tuple[int, int]], exact: list[int]):
    images = [picture(0)]
    found = search(images)
    first, second = (np.array(side, dtype=np.int64) for side in zip(*near, strict=True))
    made = type(found)(np.array(exact), first, second, np.ones(len(near)), 0, 11, True)
    return bound_patients(pd.Series(patients), made)


def test_patients_that_share_images_are_bound():
    patients = [f"p{number // 2}" for number in range(200)]
    exact = list(range(200))
    exact[20] = exact[0]
    groups, left_out = bound(patients, [(2, 41)], exact)
    assert not left_out
    assert groups[0] == groups[20] == groups[21]
    assert groups[2] == groups[3] == groups[40] == groups[41]
    assert len(np.unique(groups)) == 98


def test_giant_chains_are_taken_apart_but_equal_images_stay_together():
    patients = [f"p{number}" for number in range(100)]
    chain = [(number, number + 1) for number in range(50, 70)]
    exact = list(range(100))
    exact[60] = exact[50]
    groups, left_out = bound(patients, [*chain, (0, 1)], exact)
    assert left_out
    assert groups[50] == groups[60]
    assert groups[51] != groups[52]
    assert groups[0] == groups[1]


def patches(overlapping: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Six patients with nine patches each, cut from a field of their own."""
    step = SIZE // 2 if overlapping else SIZE
    ids, images = [], []
    for patient in range(6):
        noise = np.random.default_rng(patient).integers(0, 256, (4 * SIZE,) * 2).astype(np.uint8)
        field = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
        for place in range(9):
            top, left = step * (place // 3), step * (place % 3)
            images.append(field[top : top + SIZE, left : left + SIZE, None])
            ids.append(f"slide{patient}")
    return np.array(ids), images


def test_overlapping_patches_are_found():
    ids, images = patches(True)
    found = find_overlaps(ids, images.__getitem__)
    assert (found.images, found.overlapping) == (54, 54)
    # On a 3 x 3 grid 12 pairs share a side (half the area), 8 a corner (a quarter).
    assert 0.95 * 6 * 20 <= found.found <= 6 * 20
    assert found.examples[0][2] == pytest.approx(0.5, abs=0.02)
    assert found.control_pairs == 45
    assert found.control_found == 0


def test_patches_side_by_side_do_not_overlap():
    ids, images = patches(False)
    found = find_overlaps(ids, images.__getitem__)
    assert (found.found, found.overlapping, found.pairs) == (0, 0, 6 * 36)
