"""The views an encoder saw, as a small picture inside the page."""

from collections.abc import Sequence

from PIL import Image

from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Pretrain
from medstrata.report.render.inline_images import UNREADABLE, inline_image, open_png
from medstrata.report.render.parts import Sheet
from medstrata.report.sections.section import Section


def views_section(runs: Sequence[Pretrain]) -> Section:
    """The sheets of pre-training runs, equal ones once; a note for each that cannot be shown."""
    sheets: dict[bytes, list[Pretrain]] = {}
    notes = []
    for run in runs:
        path = run.files.folder / "views.png"
        if path.is_file():
            sheets.setdefault(path.read_bytes(), []).append(run)
        else:
            notes.append(
                ReportNote(what=run.files.name, why="no views.png: what it saw is not shown")
            )
    parts = []
    for content, seen_by in sheets.items():
        try:
            parts.append(_sheet(content, seen_by))
        except UNREADABLE:
            names = ", ".join(run.files.name for run in seen_by)
            notes.append(
                ReportNote(what=names, why="views.png cannot be read: what it saw is not shown")
            )
    title = "Views the encoder saw"
    return Section(anchor="views", title=title, short="Views", parts=parts, notes=notes)


def _sheet(content: bytes, seen_by: Sequence[Pretrain]) -> Sheet:
    several = "The sheets of these runs are identical. " if len(seen_by) > 1 else ""
    named = ", ".join(f"{run.label} (seed {run.seed})" for run in seen_by)
    return Sheet(
        image=inline_image(_lying(open_png(content))),
        alt="Pairs of augmented views of training images, the two views of an image one above the "
        "other.",
        caption=f"Two views of the same images, one above the other, as {named} saw them at "
        f"{seen_by[0].store.size} pixels, shown compressed. {several}These are images of the data "
        "set: share the report only where you may share them.",
        css_class="views",
    )


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
