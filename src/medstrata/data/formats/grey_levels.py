"""Grey values of any depth to grey levels: windows, percentiles, look-up tables.

Legend: H W height and width, V distinct values.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.read_settings import ReadSettings, window_range
from medstrata.data.formats.refusals import ImageError

PERCENTILES = (0.5, 99.5)  # of an image without a window: what becomes black and white
WIDEST_TABLE = 2**16  # values that are looked up rather than computed one by one

# From values in the units of the file to 0 (black) .. 1 (white).
Transfer = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def ramp(low: float, high: float) -> Transfer:
    """Straight from black at `low` to white at `high`; a step at `low` if they are equal."""
    if high <= low:
        return lambda values: (values > low).astype(np.float64)
    return lambda values: np.clip((values - low) / (high - low), 0, 1)


def percentile_range(
    values: NDArray[np.float64], counts: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """The values at `PERCENTILES`; lowest and highest where these are equal.

    Args:
        values: Any shape; with counts, shape (V,).
        counts: How often each value occurs, shape (V,); None for once each.

    Returns:
        As `np.percentile` gives them for the values written out in full.
    """
    if counts is None:
        low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    else:
        order = np.argsort(values, kind="stable")
        order = order[counts[order] > 0]
        values, ends = values[order], np.cumsum(counts[order])
        low, high = (_percentile(values, ends, share / 100) for share in PERCENTILES)
    if low == high:  # nearly all values alike: keep the few that are not
        low, high = float(values.min()), float(values.max())
    return low, high


def _percentile(values: NDArray[np.float64], ends: NDArray[np.int64], share: float) -> float:
    place = share * (int(ends[-1]) - 1)
    below = int(place)
    low, high = (
        values[np.searchsorted(ends, rank, side="right")]
        for rank in (below, min(below + 1, int(ends[-1]) - 1))
    )
    return float(low + (place - below) * (high - low))


def window_values(
    pixels: NDArray[Any], window: str, bits: int, notes: list[str], *, inverted: bool = False
) -> NDArray[Any]:
    """Grey levels of an image that names no window of its own.

    Args:
        pixels: Values in the units of the file, shape (H, W).
        window: As `ReadSettings.window`; one that only a DICOM file can name means percentiles.
        bits: 8 or 16, of the grey levels.
        notes: Gets a line on what was done.
        inverted: Whether low values are bright.

    Returns:
        Shape (H, W), uint8 or uint16.

    Raises:
        ImageError: values are infinite, or all the same.
    """
    check_numbers(pixels, notes)
    lowest = np.nanmin(pixels)
    if lowest == np.nanmax(pixels):
        raise ImageError(f"constant image, every pixel {lowest:g}")

    def choose(values: NDArray[np.float64], counts: NDArray[np.int64] | None) -> Transfer:
        low, high = own_range(window, values, counts)
        notes.append(f"{low:g}..{high:g} to 0..{2**bits - 1}")
        transfer = ramp(low, high)
        if not inverted:
            return transfer
        notes.append("white is zero: inverted")
        return lambda values: 1 - transfer(values)

    return to_levels(pixels, lambda stored: stored, choose, bits)


def colour_levels(
    colours: NDArray[Any], stored_bits: int, reading: ReadSettings, notes: list[str]
) -> NDArray[Any]:
    """Levels of colours of more than 8 bits; what has three equal channels is grey.

    Colours that fill their bits keep their high byte. Where they do not, as 12 bits in 16, that is
    black: they are scaled by one range for all channels, as they are for a window that is asked
    for.

    Args:
        colours: Shape (H, W, 3), unsigned.
        stored_bits: That colours may have.
        reading: Window and depth.
        notes: Gets a line on what was done.

    Returns:
        Shape (H, W, 3), or (H, W) if grey.
    """
    if (colours == colours[..., :1]).all():
        notes.append("equal channels to grey")
        return window_values(colours[..., 0], reading.window, reading.bits, notes)
    if reading.window == "first" and int(colours.max()) >= 2 ** (stored_bits - 1):
        notes.append(f"{stored_bits}-bit colour to 8 bits: high byte kept")
        return to_depth((colours >> (stored_bits - 8)).astype(np.uint8), reading.bits)
    low, high = own_range(reading.window, colours.astype(np.float64).ravel(), None)
    notes.append(f"{low:g}..{high:g} of all channels to 0..255")
    return to_depth(_levels(ramp(low, high)(colours.astype(np.float64)), 8), reading.bits)


def own_range(
    window: str, values: NDArray[np.float64], counts: NDArray[np.int64] | None
) -> tuple[float, float]:
    """Lowest and highest value of a window that takes nothing from the file but its values."""
    if window == "full":
        occurring = values if counts is None else values[counts > 0]
        return float(occurring.min()), float(occurring.max())
    return window_range(window) or percentile_range(values, counts)


def check_numbers(pixels: NDArray[Any], notes: list[str]) -> None:
    """Say how many pixels are no number, which is how programs mark background.

    Args:
        pixels: Any shape.
        notes: Gets a line if there are some.

    Raises:
        ImageError: none is a number, or some are infinite or too large to take differences of.
    """
    if pixels.dtype.kind != "f":
        return
    background = int(np.isnan(pixels).sum())
    if background == pixels.size:
        raise ImageError("no pixel is a number")
    span = float(np.nanmax(pixels)) - float(np.nanmin(pixels))
    if not np.isfinite(span):
        raise ImageError("infinite pixels")
    if background:
        notes.append(f"{background} pixels that are no number taken for background, black")


def to_levels(
    pixels: NDArray[Any],
    units: Transfer,
    choose: Callable[[NDArray[np.float64], NDArray[np.int64] | None], Transfer],
    bits: int,
    ignored: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """Turn stored values into grey levels, through one table where there are few enough of them.

    Args:
        pixels: Stored values, shape (H, W), integers or floats; what is no number becomes black.
        units: From stored values to the units of the file.
        choose: Gives the transfer to 0..1 for values in the units of the file and their counts
            (None: once each).
        bits: 8 or 16, of the grey levels.
        ignored: Lowest and highest stored value that stand for no measurement; they become black
            and take no part in the choice.

    Returns:
        Shape (H, W), uint8 or uint16.
    """
    if pixels.dtype.kind not in "iu" or int(pixels.max()) - int(pixels.min()) >= WIDEST_TABLE:
        numbers = ~np.isnan(pixels)
        measured = _measured(pixels, ignored) & numbers
        if not measured.any():
            measured = numbers
        if not measured.any():
            return _levels(np.zeros(pixels.shape), bits)
        values = units(pixels.astype(np.float64))
        levels = choose(values[measured], None)(values)
        return _levels(np.where(measured, levels, 0), bits)
    lowest = int(pixels.min())
    if pixels.dtype.kind == "u":  # whose values may be too large for a signed number
        place = (pixels - pixels.dtype.type(lowest)).astype(np.uint16)
    else:
        place = (pixels.astype(np.int64) - lowest).astype(np.uint16)
    counts = _counts(place)
    stored = np.arange(lowest, lowest + len(counts), dtype=np.float64)
    measured = _measured(stored, ignored)
    if not counts[measured].any():
        measured = np.ones(len(stored), dtype=bool)
    values = units(stored)
    transfer = choose(values[measured], counts[measured])
    table = _levels(np.where(measured, transfer(values), 0), bits)
    return np.asarray(table[place.astype(np.intp)])  # four times as fast as by 16 bits


def _counts(place: NDArray[np.uint16]) -> NDArray[np.int64]:
    """How often each number from 0 to the largest occurs."""
    if place.size >= 2**24:  # more than single precision, in which OpenCV counts, holds
        return np.bincount(place.ravel())
    size = int(place.max()) + 1
    counts = cv2.calcHist([place], [0], None, [size], [0, size])
    return counts.ravel().astype(np.int64)


def _measured(stored: NDArray[Any], ignored: tuple[int, int] | None) -> NDArray[np.bool_]:
    if ignored is None:
        return np.ones(stored.shape, dtype=bool)
    return np.asarray((stored < ignored[0]) | (stored > ignored[1]), dtype=np.bool_)


def _levels(shares: NDArray[np.float64], bits: int) -> NDArray[Any]:
    levels: NDArray[Any] = np.rint(shares * (2**bits - 1))
    return levels.astype(np.uint8) if bits == 8 else levels.astype(np.uint16)


def to_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels of 8 or 16 bits as levels of 8."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def to_depth(pixels: NDArray[np.uint8], bits: int) -> NDArray[Any]:
    """Grey levels of 8 bits as levels of 8 or 16; white stays white."""
    return pixels if bits == 8 else pixels.astype(np.uint16) * 257
