"""What is kept of every stored image so that copies can be found without its pixels.

Legend: N samples, C channels, H W height and width.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.audit.pixels import pixel_checksum
from medstrata.data.formats.grey_levels import to_bytes

_SIDE = 32  # of the thumbnail that is transformed


def _coefficients() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The 64 lowest cosine frequencies that tell medical images of one kind apart.

    The very lowest are left out, since the coarse layout (a chest, a disc on black) is common to
    all images of a set, and so are those even in both directions: a frame that is symmetric, as
    padding and the disc of a fundus camera, lives in them alone.
    """
    ordered = sorted(
        (row + column, row, column)
        for row in range(_SIDE)
        for column in range(_SIDE)
        if row + column >= 5 and (row % 2 or column % 2)
    )[:64]
    return np.array([row for _, row, _ in ordered]), np.array([column for *_, column in ordered])


_ROWS, _COLUMNS = _coefficients()

# What `describe` gives, with the type in tables.
DESCRIPTION = {
    "pixel_checksum": "string",
    "fingerprint": "Int64",
    "dark_share": "Float64",
    "bright_share": "Float64",
    "contrast": "Float64",
}


def describe(pixels: NDArray[Any]) -> dict[str, Any]:
    """Describe one stored image.

    Args:
        pixels: Shape (H, W, C), uint8 or uint16.

    Returns:
        `pixel_checksum`, see `pixels.pixel_checksum`; `fingerprint`,
        see `fingerprint`; `dark_share` and `bright_share`, the shares of values at 0 and at the
        greatest level, black padding included; `contrast`, the standard deviation of a thumbnail in
        grey levels.
    """
    small = thumbnail(pixels, _SIDE)
    return {
        "pixel_checksum": pixel_checksum(pixels),
        "fingerprint": fingerprint(small),
        "dark_share": 1 - np.count_nonzero(pixels) / pixels.size,
        "bright_share": np.count_nonzero(pixels == np.iinfo(pixels.dtype).max) / pixels.size,
        "contrast": float(cv2.meanStdDev(small)[1][0, 0]),
    }


def fingerprint(small: NDArray[np.float32]) -> int:
    """A perceptual hash: the signs of 64 cosine coefficients.

    Copies that were encoded again, brightened or resized differ in a few of the 64 bits, other
    images in about half; images of one kind in fewer, so a pair is a candidate and no finding.

    Args:
        small: As `thumbnail` gives it, shape (32, 32).

    Returns:
        64 bits as a signed integer, as Parquet holds it.

    Source: the idea is Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash
        Functions, section 3.2.1; which coefficients, and their sign, are our choice.
    """
    bits = cv2.dct(small)[_ROWS, _COLUMNS] > 0
    return int(np.packbits(bits).view(np.int64)[0])


def thumbnail(pixels: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Shrink to a grey square: (H, W, C) -> (side, side), grey levels 0 to 255."""
    small = cv2.resize(to_bytes(pixels), (side, side), interpolation=cv2.INTER_AREA)
    if small.ndim == 3:
        small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return np.asarray(small, dtype=np.float32)
