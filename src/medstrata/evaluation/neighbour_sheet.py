"""Thumbnails in rows: an image, then its nearest images, framed by what they share."""

from pathlib import Path
from typing import NamedTuple

from medstrata.data.contact_sheet import TILE, ContactSheet
from medstrata.data.store.store import Store

_FRAME, _GAP, _CAPTION, _LEGEND = 5, 8, 16, 26
_CELL = TILE + 2 * _FRAME
_BACKGROUND, _INK = (255, 255, 255), (20, 20, 20)
# Of Okabe and Ito's palette, which colour-blind people tell apart.
_SAME_PATIENT, _SAME_LABEL, _OTHER_LABEL = (230, 159, 0), (0, 114, 178), (204, 121, 167)
_EXPLAINED = (
    (_INK, "the image"),
    (_SAME_PATIENT, "same patient"),
    (_SAME_LABEL, "same label"),
    (_OTHER_LABEL, "other label"),
)


class SheetNeighbour(NamedTuple):
    """An image near another one."""

    row: int  # sample number
    label: str
    sample_id: str
    cosine: float
    same_label: bool
    same_patient: bool


class SheetQuery(NamedTuple):
    """An image and the images near it, the nearest first."""

    row: int  # sample number
    label: str
    sample_id: str
    neighbours: list[SheetNeighbour]


def write_sheet(store: Store, queries: list[SheetQuery], path: Path) -> None:
    """Write the sheet as a PNG: labels below, neighbours with their cosine, colours explained."""
    columns = 1 + max(len(query.neighbours) for query in queries)
    width = max(columns * (_CELL + _GAP) + 2 * _GAP, 4 * (_CELL + _GAP) + _GAP)
    height = _LEGEND + len(queries) * (_CELL + _CAPTION + _GAP) + _GAP
    sheet = ContactSheet(width, height, _BACKGROUND)
    for number, (colour, words) in enumerate(_EXPLAINED):
        left = _GAP + number * (_CELL + _GAP)
        sheet.box(left, _GAP, 12, 12, colour)
        sheet.words(left + 17, _GAP - 1, words, _INK, _CELL - 17)
    for number, query in enumerate(queries):
        top = _LEGEND + _GAP + number * (_CELL + _CAPTION + _GAP)
        tiles = [
            (query.row, query.label, _INK),
            *(
                (near.row, f"{near.cosine:.4f} {near.label}", _colour(near))
                for near in query.neighbours
            ),
        ]
        for column, (row, caption, colour) in enumerate(tiles):
            left = _GAP + column * (_CELL + _GAP) + (_GAP if column else 0)
            sheet.box(left, top, _CELL, _CELL, colour)
            sheet.thumbnail(left + _FRAME, top + _FRAME, store[row])
            sheet.words(left, top + _CELL + 1, caption, _INK, _CELL)
    sheet.save(path)


def _colour(neighbour: SheetNeighbour) -> tuple[int, int, int]:
    if neighbour.same_patient:
        return _SAME_PATIENT
    return _SAME_LABEL if neighbour.same_label else _OTHER_LABEL
