"""A contact sheet of a store with its intensities: a wrong window or polarity leaps to the eye.

Legend: H W height and width.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.similarity import ReadImage
from medstrata.data.contact_sheet import TILE, ContactSheet
from medstrata.data.formats.grey_levels import to_bytes
from medstrata.data.sources import evenly_spaced

_GAP, _COLUMNS, _CAPTION = 4, 8, 24
_MOST_GROUPS = 12
_BINS = 64
_BACKGROUND, _INK, _DIM = (0, 0, 0), (255, 255, 255), (120, 120, 120)
_SIDE = 2 * (TILE + _GAP)  # of a histogram: two rows of tiles high and as wide
_WIDTH = _GAP + _COLUMNS * (TILE + _GAP) + _SIDE


def write_preview(manifest: pd.DataFrame, read: ReadImage, path: Path) -> None:
    """Write a PNG with a strip for each group of images that were made or stored alike.

    A group is a site (else a DICOM file's manufacturer), a format and a kind of pixels. Its strip
    shows up to 16 evenly spaced images, and the share of pixels at each brightness in these images,
    black at the left; the darkest bin, which borders fill, does not set the height.

    Args:
        manifest: A row per image, as `Store.manifest`.
        read: Gives the pixels of a sample, (H, W, C).
        path: The file.
    """
    groups = _groups(manifest)
    shown, more = groups[:_MOST_GROUPS], groups[_MOST_GROUPS:]
    height = len(shown) * (_CAPTION + _SIDE) + (_CAPTION if more else 0)
    sheet = ContactSheet(_WIDTH, height, _BACKGROUND)
    top = 0
    for name, rows in shown:
        _draw_caption(sheet, top, f"{name}: {len(rows)} images")
        _draw_strip(sheet, top + _CAPTION, read, rows)
        top += _CAPTION + _SIDE
    if more:
        rest = sum(len(rows) for _, rows in more)
        _draw_caption(sheet, top, f"and {len(more)} groups more: {rest} images")
    sheet.save(path)


def _groups(manifest: pd.DataFrame) -> list[tuple[str, NDArray[np.int64]]]:
    """Names and samples of the groups, the largest first."""
    made = manifest["site"]
    if "dicom.Manufacturer" in manifest:
        made = made.fillna(manifest["dicom.Manufacturer"])
    names = manifest["format"] + ", " + manifest["mode"]
    names = (made + ", " + names).fillna(names)
    counts = names.value_counts()
    order = sorted(counts.index, key=lambda name: (-counts[name], name))
    codes = pd.Categorical(names, categories=order).codes
    return [(name, np.flatnonzero(codes == code)) for code, name in enumerate(order)]


def _draw_caption(sheet: ContactSheet, top: int, text: str) -> None:
    sheet.words(_GAP, top + _GAP, text, _INK, _WIDTH - 2 * _GAP)


def _draw_strip(sheet: ContactSheet, top: int, read: ReadImage, rows: NDArray[np.int64]) -> None:
    """Two rows of tiles, or one if these suffice, beside the histogram."""
    shown = rows[evenly_spaced(len(rows), 2 * _COLUMNS)]
    images = [to_bytes(read(int(row))) for row in shown]
    for number, image in enumerate(images):
        down, along = divmod(number, _COLUMNS)
        sheet.thumbnail(_GAP + along * (TILE + _GAP), top + down * (TILE + _GAP), image)
    _draw_histogram(sheet, top, images)


def _draw_histogram(sheet: ContactSheet, top: int, images: list[NDArray[np.uint8]]) -> None:
    """Bars of brightness over a base line, at the right of the sheet."""
    shares = np.zeros(_BINS)
    for image in images:
        shares += np.histogram(image, bins=_BINS, range=(0, 256))[0] / image.size
    heights = np.minimum(shares / max(float(shares[1:].max()), 1e-9), 1)
    left, width, height = _WIDTH - _SIDE + _GAP, _SIDE - 2 * _GAP, _SIDE - _GAP
    edges = np.linspace(0, width, _BINS + 1).round().astype(int)
    for start, stop, share in zip(edges[:-1], edges[1:], heights, strict=True):
        bar = 1 + round(float(share) * (height - 2))
        sheet.box(left + int(start), top + height - bar, int(stop - start), bar, _DIM)
    sheet.box(left, top + height - 1, width, 1, _INK)
