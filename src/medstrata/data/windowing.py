"""Grey values of more than 8 bits to 8 bits, between two percentiles of the image.

Legend: H W height and width.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = (0.5, 99.5)  # percentiles of a deep image that become 0 and 255
_LEVELS = 65_536


def window(pixels: NDArray[Any], *, invert: bool) -> tuple[NDArray[np.uint8], str]:
    """Scale grey values linearly to 0..255 between two percentiles of the image.

    Values of 16 bits are counted and looked up rather than sorted and computed, to the same result.

    Args:
        pixels: Shape (H, W), finite, not all equal.
        invert: Whether the lowest value is the brightest.

    Returns:
        Shape (H, W), and what was done, in words.
    """
    if pixels.dtype == np.uint16:
        low, high = _counted_percentiles(pixels)
        table = _scale(np.arange(_LEVELS, dtype=np.float64), low, high, invert=invert)
        scaled = np.take(table, pixels)
    else:
        values = pixels.astype(np.float64)
        low, high = _ends(values, *np.percentile(values, WINDOW))
        scaled = _scale(values, low, high, invert=invert)
    note = f"{low:g}..{high:g} to 0..255"
    return scaled, f"{note}; white is zero: inverted" if invert else note


def _counted_percentiles(pixels: NDArray[np.uint16]) -> tuple[float, float]:
    """The window's ends, interpolated between neighbours in rank as `np.percentile` does."""
    counts = cv2.calcHist([pixels], [0], None, [_LEVELS], [0, _LEVELS]).ravel()
    up_to = np.cumsum(counts, dtype=np.float64)
    ranks = np.array(WINDOW) / 100 * (pixels.size - 1)
    below, above = (np.searchsorted(up_to, np.floor(ranks) + step, "right") for step in (0, 1))
    low, high = below + (above - below) * (ranks - np.floor(ranks))
    return _ends(pixels, low, high)


def _ends(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    if low == high:  # nearly all pixels alike: keep the few that are not
        return float(values.min()), float(values.max())
    return float(low), float(high)


def _scale(
    values: NDArray[np.float64], low: float, high: float, *, invert: bool
) -> NDArray[np.uint8]:
    if invert:
        low, high = high, low
    scaled = (values - low) * 255 / (high - low)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)
