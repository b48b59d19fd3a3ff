"""A sheet of thumbnails: in each row an image, then its nearest images, framed by what they share.

Legend: H W height and width, C channels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medstrata.data.formats.windows import to_bytes
from medstrata.data.store.store import Store

_TILE, _FRAME, _GAP, _CAPTION, _LEGEND = 96, 5, 8, 16, 26
_CELL = _TILE + 2 * _FRAME
_PAPER, _INK = (255, 255, 255), (20, 20, 20)
# Of Okabe and Ito's palette, which colour-blind people tell apart.
_SAME_PATIENT, _SAME_LABEL, _OTHER_LABEL = (230, 159, 0), (0, 114, 178), (204, 121, 167)
_EXPLAINED = (
    (_INK, "the image"),
    (_SAME_PATIENT, "same patient"),
    (_SAME_LABEL, "same label"),
    (_OTHER_LABEL, "other label"),
)


@dataclass(frozen=True)
class SheetImage:
    """An image on the sheet."""

    row: int  # sample number
    sample_id: str
    label: str


@dataclass(frozen=True)
class Neighbour:
    """An image near another one."""

    image: SheetImage
    cosine: float
    same_label: bool
    same_patient: bool


@dataclass(frozen=True)
class Query:
    """An image and the images near it, the nearest first."""

    image: SheetImage
    neighbours: tuple[Neighbour, ...]


def write_sheet(store: Store, queries: list[Query], path: Path) -> None:
    """Write the sheet as a PNG: labels below, neighbours with their cosine, colours explained."""
    columns = 1 + max(len(query.neighbours) for query in queries)
    width = max(columns * (_CELL + _GAP) + 2 * _GAP, 4 * (_CELL + _GAP) + _GAP)
    height = _LEGEND + len(queries) * (_CELL + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for number, (colour, words) in enumerate(_EXPLAINED):
        left = _GAP + number * (_CELL + _GAP)
        draw.rectangle((left, _GAP, left + 11, _GAP + 11), fill=colour)
        draw.text((left + 17, _GAP - 1), words, fill=_INK, font=font)
    for number, query in enumerate(queries):
        top = _LEGEND + _GAP + number * (_CELL + _CAPTION + _GAP)
        tiles = [
            (query.image, query.image.label, _INK),
            *(
                (near.image, f"{near.cosine:.4f} {near.image.label}", _colour(near))
                for near in query.neighbours
            ),
        ]
        for column, (image, caption, colour) in enumerate(tiles):
            left = _GAP + column * (_CELL + _GAP) + (_GAP if column else 0)
            draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=colour)
            sheet.paste(_thumbnail(store, image.row), (left + _FRAME, top + _FRAME))
            words = _shortened(caption, font)
            draw.text((left, top + _CELL + 1), words, fill=_INK, font=font)
    sheet.save(path, format="PNG")


def _colour(neighbour: Neighbour) -> tuple[int, int, int]:
    if neighbour.same_patient:
        return _SAME_PATIENT
    return _SAME_LABEL if neighbour.same_label else _OTHER_LABEL


def _thumbnail(store: Store, row: int) -> Image.Image:
    pixels = to_bytes(store[row])
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if store.channels == 1 else pixels))
    return image.convert("RGB").resize((_TILE, _TILE), Image.Resampling.BOX)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= _CELL:
        return text
    while text and font.getlength(f"{text}...") > _CELL:
        text = text[:-1]
    return f"{text}..."
