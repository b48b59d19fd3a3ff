"""A contact sheet of a store: to see at a glance that the images are what they should be."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.store import SPLITS, Store
from medstrata.files import replacing

_TILE, _GAP, _COLUMNS, _CAPTION = 96, 4, 8, 24
_ROWS = {"train": 4, "val": 2, "test": 2}  # of tiles; 64 tiles in all


def write_preview(store: Store, path: Path) -> None:
    """Write a PNG of up to 64 evenly spaced samples, by split, captioned with nothing else."""
    strips = [
        strip for split in SPLITS if len(store.rows(split)) for strip in _strips(store, split)
    ]
    sheet = np.concatenate(strips)[..., ::-1]  # OpenCV writes BGR
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _strips(store: Store, split: str) -> list[NDArray[np.uint8]]:
    """A caption and rows of tiles of one split, each (H, W, 3) of the same width."""
    rows = store.rows(split)
    count = min(len(rows), _ROWS[split] * _COLUMNS)
    rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    width = _COLUMNS * (_TILE + _GAP) + _GAP
    caption = np.zeros((_CAPTION, width, 3), dtype=np.uint8)
    cv2.putText(
        caption, split, (_GAP, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )
    strips = [caption]
    for start in range(0, count, _COLUMNS):
        strip = np.zeros((_TILE + _GAP, width, 3), dtype=np.uint8)
        for column, row in enumerate(rows[start : start + _COLUMNS]):
            how = cv2.INTER_AREA if store.size > _TILE else cv2.INTER_LINEAR
            tile = cv2.resize(store[row], (_TILE, _TILE), interpolation=how)
            left = _GAP + column * (_TILE + _GAP)
            strip[:_TILE, left : left + _TILE] = tile.reshape(_TILE, _TILE, -1)
        strips.append(strip)
    return strips
