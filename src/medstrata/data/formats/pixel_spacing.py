"""Oblong pixels to square ones.

Legend: H W height and width.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.refusals import MAX_PIXELS, ImageError


def square_pixels(
    pixels: NDArray[Any], down: float, across: float, notes: list[str]
) -> NDArray[Any]:
    """Resample an image whose pixels are oblong, the longer side of a pixel to the shorter.

    Args:
        pixels: Shape (H, W) or (H, W, 3).
        down: Distance between rows.
        across: Distance between columns, in the same unit.
        notes: Gets a line if something was done.

    Raises:
        ImageError: the result would have more than `MAX_PIXELS` pixels.
    """
    if not (np.isfinite(down) and np.isfinite(across) and down > 0 and across > 0):
        return pixels
    ratio = down / across
    if abs(ratio - 1) < 0.01:
        return pixels
    height, width = pixels.shape[:2]
    if height * width * max(ratio, across / down) > MAX_PIXELS:
        raise ImageError(f"pixels of {down:g} x {across:g} cannot be made square")
    height, width = round(height * max(1, ratio)), round(width * max(1, 1 / ratio))
    notes.append(f"pixels of {down:g} x {across:g} made square")
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
