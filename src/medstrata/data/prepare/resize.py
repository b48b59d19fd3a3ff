"""Images of any shape to squares of one size.

Legend: H W height and width.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.refusals import ImageError
from medstrata.data.prepare.settings import Fit

_LIT = 0.06  # of the full range: what is brighter than this belongs to the fundus


def fit_square(
    pixels: NDArray[Any], size: int, channels: int, fit: Fit
) -> tuple[NDArray[Any], str]:
    """Bring an image to a square of a given size and number of channels.

    Args:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8 or uint16.
        size: Side of the square in pixels.
        channels: 1 or 3.
        fit: What to do with an image that is not square: "pad" with black around the whole of it,
            "crop" to its middle, or "stretch" it. "keep" changes no pixel: a patch of that size
            stays as it is, a smaller one gets a black border. "fundus" cuts out the lit circle of a
            retinal photograph and pads that, so that its diameter fills the square.

    Returns:
        Shape (size, size, channels), and words on the conversion, empty if there was none to tell.

    Raises:
        ImageError: an image to be kept is larger than the square.
    """
    notes = []
    if pixels.ndim == 3 and channels == 1:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        notes.append("colour to grey")
    if fit == "fundus":
        pixels = _lit_part(pixels, notes)
    height, width = pixels.shape[:2]
    if fit == "keep" and max(height, width) > size:
        raise ImageError(f"{width} x {height} pixels, too large to be kept in {size} x {size}")
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
        height = width = side
    new_height = new_width = size
    if fit == "keep":
        new_height, new_width = height, width
    elif fit in ("pad", "fundus"):
        longer = max(height, width)
        new_height = max(1, round(height * size / longer))
        new_width = max(1, round(width * size / longer))
    if (height, width) != (new_height, new_width):
        smaller = new_height * new_width < height * width
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, (new_width, new_height), interpolation=how))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    square = np.zeros((size, size, channels), dtype=pixels.dtype)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = pixels  # grey fills all channels
    return square, "; ".join(notes)


def _lit_part(pixels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """The box around the lit circle; the whole image where there is no dark surround to cut."""
    brightest = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    lit = brightest > _LIT * np.iinfo(pixels.dtype).max
    # A line belongs to the circle where a tenth of the longest one is lit: specks are less.
    rows, columns = lit.sum(axis=1), lit.sum(axis=0)
    down = np.flatnonzero(rows > rows.max() / 10)
    along = np.flatnonzero(columns > columns.max() / 10)
    height, width = pixels.shape[:2]
    if not len(down) or not len(along):
        return pixels
    top, bottom, left, right = down[0], down[-1] + 1, along[0], along[-1] + 1
    if max(bottom - top, right - left) < max(height, width) / 4:
        notes.append("no lit circle found")
        return pixels
    if (bottom - top, right - left) != (height, width):
        notes.append(f"cut to the fundus, {right - left} x {bottom - top} px")
    return pixels[top:bottom, left:right]
