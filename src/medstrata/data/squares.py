"""Images of any shape to squares of one size.

Legend: H W height and width.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

FITS = ("pad", "crop", "stretch")


def fit_square(
    pixels: NDArray[np.uint8], size: int, channels: int, fit: str
) -> tuple[NDArray[np.uint8], str]:
    """Bring an image to a square of a given size and number of channels.

    Args:
        pixels: Grey (H, W) or RGB (H, W, 3).
        size: Side of the square in pixels.
        channels: 1 or 3.
        fit: What to do with an image that is not square: "pad" with black around the whole of it,
            "crop" to its middle, or "stretch" it.

    Returns:
        Shape (size, size, channels), and a word on the conversion, empty if channels agree.
    """
    note = ""
    if pixels.ndim == 3 and channels == 1:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        note = "colour to grey"
    height, width = pixels.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
        height = width = side
    new_height = new_width = size
    if fit == "pad":
        longer = max(height, width)
        new_height = max(1, round(height * size / longer))
        new_width = max(1, round(width * size / longer))
    if (height, width) != (new_height, new_width):
        smaller = new_height * new_width < height * width
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        resized = cv2.resize(pixels, (new_width, new_height), interpolation=how)
        pixels = np.asarray(resized, dtype=np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    square = np.zeros((size, size, channels), dtype=np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = pixels  # grey fills all channels
    return square, note
