"""A picture of the page as a PDF and a PNG file that stand alone: ink on white, with a key."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from medstrata.report.render.figures import INK, MUTED, RULE, Plot, Style
from medstrata.runtime.files import atomic_file

_PRINT_COLOURS = {INK: "#000000", MUTED: "#444444", RULE: "#d0d0d0"}
_PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
_DOTS_PER_INCH = 300
_GAP = 0.06  # inches between the drawing, its key and its title


def write_figure(folder: Path, name: str, plot: Plot, styles: Mapping[str, Style]) -> None:
    """Write both files, each whole or not at all; the same picture gives the same bytes.

    Args:
        folder: Where to.
        name: Of the files, without an ending.
        plot: Its figure is changed for good: it is made to stand alone on white paper.
        styles: Arm -> style, for the key.
    """
    # Type 42 keeps text as text.
    with rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        extent = _add_words(plot.figure, plot.words.title, styles)
        set_print_colours(plot.figure)
        with atomic_file(folder / f"{name}.pdf") as path:
            nothing = {"Creator": None, "Producer": None, "CreationDate": None}
            plot.figure.savefig(path, format="pdf", bbox_inches=extent, metadata=nothing)
        with atomic_file(folder / f"{name}.png") as path:
            plot.figure.savefig(
                path,
                format="png",
                bbox_inches=extent,
                dpi=_DOTS_PER_INCH,
                metadata={"Software": None},
            )


def _add_words(figure: Figure, title: str, styles: Mapping[str, Style]) -> Bbox:
    """Add what stands around the drawing in the page: its title, and a key of the arms drawn.

    Returns:
        What the drawing and the words cover, in inches.
    """
    tags = {artist.get_gid() for artist in figure.findobj()}
    drawn = {arm: style for arm, style in styles.items() if style.tag in tags}
    left = figure.axes[0].get_position().x0
    gap = _GAP / float(figure.get_size_inches()[1])
    top, covered = 1 + gap, [figure.bbox]
    if drawn:
        key = add_key(figure, drawn, loc="lower left", bbox_to_anchor=(left, top))
        covered.append(key.get_window_extent())
        top = covered[-1].y1 / figure.bbox.height + gap
    heading = figure.text(left, top, title, fontsize=9, parse_math=False)
    covered.append(heading.get_window_extent())
    return Bbox.union(covered).transformed(figure.dpi_scale_trans.inverted()).padded(_GAP)


def add_key(figure: Figure, drawn: Mapping[str, Style], **place: Any) -> Legend:
    """Add a key of the arms drawn; `place` is where, as `Figure.legend` takes it."""
    key = figure.legend(
        [
            Line2D((), (), color=one.colour, marker=one.marker, ls=one.dash, mec="none", ms=5)
            for one in drawn.values()
        ],
        # A name that begins with an underscore would be left out.
        [f" {arm}" for arm in drawn],
        ncols=3,
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        columnspacing=1.2,
        fontsize=8,
        **place,
    )
    for text in key.get_texts():
        text.set_parse_math(False)
    return key


def set_print_colours(figure: Figure) -> None:
    """Give a figure a white ground, and colours where the page would decide them."""
    for artist in figure.findobj():
        for name in _PROPERTIES:
            read = getattr(artist, f"get_{name}", None)
            colours = _print_colour(read()) if read else None
            if colours is not None:
                getattr(artist, f"set_{name}")(colours)
    figure.patch.set(visible=True, facecolor="white")


def _print_colour(colour: Any) -> Any:
    """One colour or several without stand-ins, opacities kept; None where there are none."""
    rows = to_rgba_array(colour)
    changed = False
    for stand_in, real in _PRINT_COLOURS.items():
        is_stand_in = (rows[:, :3] == to_rgb(stand_in)).all(axis=1)
        rows[is_stand_in, :3] = to_rgb(real)
        changed |= bool(is_stand_in.any())
    if not changed:
        return None
    return tuple(rows[0]) if len(rows) == 1 else rows
