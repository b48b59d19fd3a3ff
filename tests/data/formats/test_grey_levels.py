"""Windows and percentiles of grey levels, against sorting."""

import cv2
import numpy as np
import pytest

from medstrata.data.formats.grey_levels import PERCENTILES, window_values

GENERATOR = np.random.default_rng(11)


def window(pixels: np.ndarray, *, invert: bool, bits: int = 8) -> tuple[np.ndarray, str]:
    notes: list[str] = []
    levels = window_values(pixels, "percentile", bits, notes, inverted=invert)
    return levels, "; ".join(notes)


def sorted_window(values: np.ndarray, invert: bool) -> np.ndarray:
    """The same by NumPy's percentiles, which sort, and by computing every pixel."""
    low, high = np.percentile(values.astype(float), PERCENTILES)
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.rint(255 * (1 - share if invert else share))


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("top", [40, 4096, 65536])
@pytest.mark.parametrize("shape", [(1, 7), (13, 17), (256, 301)])
def test_counting_gives_what_sorting_gives(shape, top, invert):
    deep = GENERATOR.integers(0, top, shape).astype(np.uint16)
    pixels, _ = window(deep, invert=invert)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - sorted_window(deep, invert)).max() <= 1  # halves round either way
    assert (pixels != sorted_window(deep, invert)).mean() < 0.03


def test_counting_and_sorting_agree_to_the_note():
    deep = cv2.GaussianBlur(GENERATOR.integers(0, 65536, (300, 300)).astype(np.uint16), (0, 0), 3)
    counted, note = window(deep, invert=False)
    computed, same_note = window(deep.astype(np.int32), invert=False)
    np.testing.assert_array_equal(counted, computed)
    assert note == same_note


def test_extremes_of_16_bits():
    deep = np.array([[0, 65535], [65535, 0]], np.uint16)
    assert window(deep, invert=False)[0].tolist() == [[0, 255], [255, 0]]
    pixels, note = window(deep, invert=True)
    assert pixels.tolist() == [[255, 0], [0, 255]]
    assert note.endswith("white is zero: inverted")


def test_a_single_other_value_is_kept():
    deep = np.full((60, 60), 9, np.uint16)
    deep[3, 4] = 10
    for dtype in (np.uint16, np.int16):
        pixels, note = window(deep.astype(dtype), invert=False)
        assert pixels[3, 4] == 255
        assert pixels.sum() == 255
        assert note == "9..10 to 0..255"
