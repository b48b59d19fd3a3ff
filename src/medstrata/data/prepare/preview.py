"""A contact sheet of a store with its intensities: a wrong window or polarity leaps to the eye.

Legend: H W height and width.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.likeness import ReadImage
from medstrata.data.formats.windows import to_bytes
from medstrata.runtime.files import replacing

_TILE, _GAP, _COLUMNS, _CAPTION = 96, 4, 8, 24
_MOST_GROUPS = 12
_BINS = 64
_INK, _DIM = (255, 255, 255), (120, 120, 120)
_SIDE = 2 * (_TILE + _GAP)  # of a histogram: two rows of tiles high and as wide


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
    strips = [
        strip
        for name, rows in groups[:_MOST_GROUPS]
        for strip in (_caption(f"{name}: {len(rows)} images"), _strip(read, rows))
    ]
    if len(groups) > _MOST_GROUPS:
        rest = sum(len(rows) for _, rows in groups[_MOST_GROUPS:])
        strips.append(_caption(f"and {len(groups) - _MOST_GROUPS} groups more: {rest} images"))
    sheet = np.concatenate(strips)[..., ::-1]  # OpenCV writes BGR
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


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


def _caption(text: str) -> NDArray[np.uint8]:
    caption = np.zeros((_CAPTION, _COLUMNS * (_TILE + _GAP) + _GAP + _SIDE, 3), dtype=np.uint8)
    plain = text.encode("ascii", "replace").decode()
    place, font = (_GAP, 17), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(caption, plain, place, font, 0.5, _INK, 1, cv2.LINE_AA)
    return caption


def _strip(read: ReadImage, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Two rows of tiles, or one if these suffice, beside the histogram."""
    count = min(len(rows), 2 * _COLUMNS)
    rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    images = [to_bytes(read(int(row))) for row in rows]
    strip = np.zeros((_SIDE, _COLUMNS * (_TILE + _GAP) + _GAP + _SIDE, 3), dtype=np.uint8)
    how = cv2.INTER_AREA if len(images[0]) > _TILE else cv2.INTER_LINEAR
    for number, image in enumerate(images):
        tile = cv2.resize(image, (_TILE, _TILE), interpolation=how)
        top = (number // _COLUMNS) * (_TILE + _GAP)
        left = _GAP + (number % _COLUMNS) * (_TILE + _GAP)
        strip[top : top + _TILE, left : left + _TILE] = tile.reshape(_TILE, _TILE, -1)
    _draw_histogram(images, strip[:-_GAP, -_SIDE + _GAP : -_GAP])
    return strip


def _draw_histogram(images: list[NDArray[np.uint8]], panel: NDArray[np.uint8]) -> None:
    """Bars of brightness over a base line, in place."""
    shares = np.zeros(_BINS)
    for image in images:
        shares += np.histogram(image, bins=_BINS, range=(0, 256))[0] / image.size
    heights = shares / max(float(shares[1:].max()), 1e-9)
    height, width = panel.shape[:2]
    edges = np.linspace(0, width, _BINS + 1).round().astype(int)
    for place, share in enumerate(np.minimum(heights, 1)):
        top = height - 1 - round(float(share) * (height - 2))
        panel[top:, edges[place] : edges[place + 1]] = _DIM
    panel[-1] = _INK
