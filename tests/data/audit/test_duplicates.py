"""Copies are found, images that are only alike are not, and the search stays bounded."""

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.audit.duplicates import (
    LIKENESS,
    component_numbers,
    find_duplicates,
    link_patients,
)
from medstrata.data.audit.fingerprints import describe
from support.pictures import SIZE, picture


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


def test_black_and_white_images_break_nothing():
    flat = [np.full((SIZE, SIZE, 1), value, np.uint8) for value in (0, 0, 255, 128)]
    found = search([*flat, picture(0)])
    assert found.exact[0] == found.exact[1]
    assert pairs(found) == []


def test_connected_by_hand():
    assert component_numbers(6, [(4, 1), (5, 4), (2, 3)]).tolist() == [0, 1, 2, 2, 1, 1]


def bound(patients: list[str], near: list[tuple[int, int]], exact: list[int]):
    images = [picture(0)]
    found = search(images)
    first, second = (np.array(side, dtype=np.int64) for side in zip(*near, strict=True))
    made = type(found)(np.array(exact), first, second, np.ones(len(near)), 0, 11, True)
    return link_patients(pd.Series(patients), made)


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
