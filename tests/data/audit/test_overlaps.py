"""Patches of one picture that overlap are found."""

import cv2
import numpy as np
import pytest

from medstrata.data.audit.overlaps import find_overlaps
from support.pictures import SIZE


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
