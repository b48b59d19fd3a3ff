"""The views an encoder saw, as a small picture inside the page."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from medstrata.report.read.facts import Note
from medstrata.report.read.runs import Pretrain
from medstrata.report.render.inline_images import UNREADABLE, InlineImage, inline_image, open_png


@dataclass(frozen=True, kw_only=True)
class Views:
    """One sheet and the runs that saw it."""

    sheet: InlineImage
    runs: tuple[Pretrain, ...]


def read_views(runs: Sequence[Pretrain]) -> tuple[list[Views], list[Note]]:
    """Read the sheets of pre-training runs; equal sheets are shown once."""
    sheets: dict[str, tuple[bytes, list[Pretrain]]] = {}
    notes = []
    for run in runs:
        path = run.files.folder / "views.png"
        if path.is_file():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            sheets.setdefault(digest, (content, []))[1].append(run)
        else:
            notes.append(Note(what=run.files.name, why="no views.png: what it saw is not shown"))
    views = []
    for content, seen_by in sheets.values():
        try:
            sheet = inline_image(_lying(open_png(content)))
            views.append(Views(sheet=sheet, runs=tuple(seen_by)))
        except UNREADABLE:
            names = ", ".join(run.files.name for run in seen_by)
            notes.append(Note(what=names, why="views.png cannot be read: what it saw is not shown"))
    return views, notes


def _lying(sheet: Image.Image) -> Image.Image:
    """Turn rows of two square views into columns of two, set apart, which fits a page better."""
    side = sheet.width // 2
    pairs = sheet.height // max(side, 1)
    if sheet.size != (2 * side, pairs * side):
        return sheet
    gap = max(2, side // 16)
    pitch = side + gap
    lying = Image.new("RGBA", (pairs * pitch - gap, 2 * side + gap // 2))
    for pair in range(pairs):
        for view in range(2):
            left, top = view * side, pair * side
            one = sheet.crop((left, top, left + side, top + side))
            lying.paste(one, (pair * pitch, view * (side + gap // 2)))
    return lying
