"""Pixels that are not square become square."""

import numpy as np
import pytest

from medstrata.data.formats.pixel_spacing import square_pixels
from medstrata.data.formats.refusals import ImageError

GREY = np.zeros((20, 30), np.uint8)


def test_square_pixels_by_hand():
    pixels = np.array([[0, 100], [200, 40]], np.uint8)
    notes = []
    twice = square_pixels(pixels, 2, 1, notes)  # rows two apart: twice as many of them
    assert twice.tolist() == [[0, 100], [50, 85], [150, 55], [200, 40]]
    assert notes == ["pixels of 2 x 1 made square"]
    wide = square_pixels(pixels, 0.1, 0.2, [])
    assert wide.tolist() == [[0, 25, 75, 100], [200, 160, 80, 40]]


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1.005), (0, 1), (-1, 2), (np.nan, 1), (np.inf, 1)])
def test_square_pixels_leaves_what_is_square_or_unknown(spacing):
    notes = []
    assert square_pixels(GREY, *spacing, notes) is GREY
    assert notes == []


@pytest.mark.parametrize("spacing", [(1e9, 1), (1, 1e9), (1e200, 1e-200), (1e-300, 1e300)])
def test_absurd_spacing_is_refused(spacing):
    with pytest.raises(ImageError, match="cannot be made square"):
        square_pixels(GREY, *spacing, [])
