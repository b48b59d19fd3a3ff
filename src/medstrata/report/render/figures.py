"""Figures as inline SVG that take their ink from the page, so that one file suits light and dark.

Words stay in the HTML around a figure: it wraps, scales and is read aloud there, and no text
from data enters a drawing.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullLocator,
)
from numpy.typing import NDArray

Places = Sequence[float] | NDArray[np.float64]
# None where there is no value.
Values = Sequence[float | None] | NDArray[np.float64]

# Stand-ins for colours that the page decides; no other colour here is so nearly black.
INK, MUTED, RULE = "#010203", "#010204", "#010205"
BLUE = "#0072b2"
PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    BLUE: "var(--blue)",
}

# Okabe and Ito 2008, "Color Universal Design"; their black is the page's ink, and the page makes
# their blue lighter on a dark ground.
_COLOURS = (INK, "#d55e00", BLUE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES = ("-", "--", ":")

_UNWANTED = r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->"


@dataclass(frozen=True, kw_only=True)
class Style:
    """How an arm is drawn: colour, marker and dash each help to tell it from the others.

    `tag` stands for the arm's name in drawings, where no word from data may stand.
    """

    tag: str
    colour: str
    marker: str
    dash: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve: places and values, None where there is no value."""

    style: Style
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class PlotWords:
    """The words that go with a drawing.

    Attributes:
        name: Of its files, unique in a report: lower-case words joined by hyphens.
        title: In few words.
        alt: What a reader who cannot see it is told.
    """

    name: str
    title: str
    alt: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing: in the page as `svg`, with its colours, and kept as `figure` for files."""

    words: PlotWords
    svg: Markup
    figure: Figure


def arm_styles(arms: Sequence[str]) -> dict[str, Style]:
    """Give each arm a look that no other arm has."""
    return {
        arm: Style(
            tag=f"arm{i}",
            colour=_COLOURS[i % len(_COLOURS)],
            marker=_MARKERS[i % len(_MARKERS)],
            dash=_DASHES[i // len(_COLOURS) % len(_DASHES)],
        )
        for i, arm in enumerate(arms)
    }


def tag_artists(artists: Iterable[Artist], style: Style) -> None:
    """Say whose marks these are, so that the page can hide them with their arm."""
    for artist in artists:
        artist.set_gid(style.tag)


def draw_line(axes: Axes, style: Style, x: Places, y: Values, **properties: Any) -> None:
    """Draw in the colour of an arm, gaps where there is no value; `properties` of `Axes.plot`."""
    known = np.asarray(y, dtype=np.float64)  # None becomes NaN
    tag_artists(axes.plot(x, known, **{"color": style.colour, **properties}), style)


def draw_curve(axes: Axes, style: Style, x: Places, y: Values, **properties: Any) -> None:
    """The same with the markers and dashes of the arm."""
    draw_line(axes, style, x, y, ls=style.dash, marker=style.marker, mec="none", **properties)


def set_ticks(axis: Axis, locator: Locator, formatter: Formatter | None = None) -> None:
    """Ticks where they are wanted and no others, by default with plain numbers."""
    axis.set_major_locator(locator)
    axis.set_major_formatter(formatter or FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def unit_square(axes: Axes) -> None:
    """Both axes from 0 to 1, with three ticks each."""
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        set_ticks(axis, FixedLocator([0, 0.5, 1]))


def label_panels(figure: Figure, x_label: str, top: float) -> None:
    """Leave room around the panels of a figure, `top` inches above, and name their common axis."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        0.5 / width, 0.42 / height, 1 - 0.08 / width, 1 - top / height, 0.12, 0.1
    )
    figure.supxlabel(x_label, y=0.02 / height, fontsize=8, color=MUTED)


def swatch(style: Style) -> Markup:
    """The symbol of an arm for keys and tables, to be shown with <use href="#tag">."""
    figure = Figure(figsize=(30 / 72, 12 / 72))
    figure.add_artist(Line2D((0.03, 0.97), (0.5, 0.5), color=style.colour, lw=1.6, ls=style.dash))
    figure.add_artist(
        Line2D((0.5,), (0.5,), color=style.colour, marker=style.marker, ms=6.5, ls="none")
    )
    inner = re.sub(r"</?svg[^>]*>", "", _svg(figure, style.tag))
    # Sizes and colours only: nothing in a drawing comes from data.
    return Markup(f'<symbol id="{style.tag}" viewBox="0 0 30 12">{inner}</symbol>')  # noqa: S704


def curve_figure(
    lines: Sequence[Line], words: PlotWords, *, x_label: str = "epoch", log_x: bool = False
) -> Plot:
    """Curves of one quantity; a small panel that stands beside others."""
    with rc_context(page_style(9)):
        figure = Figure(figsize=(3.0, 2.1))
        # Fixed, so that charts of one row line up.
        axes = figure.add_axes((0.16, 0.205, 0.82, 0.765))
        for line in lines:
            every = max(1, len(line.x) // 6)
            draw_curve(axes, line.style, line.x, line.y, markevery=every, ms=4, lw=1.3)
        if log_x:
            axes.set_xscale("log")
            set_ticks(axes.xaxis, LogLocator(numticks=5))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            places = {x for line in lines for x in line.x}
            if len(places) == 1:
                axes.set_xlim(min(places) - 0.5, max(places) + 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(x_label)
        add_horizontal_grid(axes)
        return plot(figure, words)


def page_style(size: float) -> Any:
    """Settings under which a figure is made: sizes in points, colours the page's."""
    # Any: how the keys are typed differs between releases of matplotlib.
    return {
        "font.size": size,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "svg.fonttype": "none",
    }


def plot(figure: Figure, words: PlotWords) -> Plot:
    """A finished figure, with numbers and fixed words only, in the colours of `page_style`."""
    svg = Markup(_svg(figure, words.name))  # noqa: S704  (numbers and fixed words only)
    return Plot(words=words, svg=svg, figure=figure)


def add_horizontal_grid(axes: Axes) -> None:
    """Faint horizontal lines behind the marks."""
    axes.grid(axis="y", color=RULE, lw=0.7)
    axes.set_axisbelow(True)


def _svg(figure: Figure, name: str) -> str:
    """The drawing as an element for HTML: page colours, own ids, no fixed size, no metadata."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(written, format="svg", metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(_UNWANTED, "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', text)
    text = text.replace("xlink:href", "href")
    # An arm has many marks: they share a class, since an id stands once in a page.
    text = re.sub(r'\bid="(arm\d+)"', r'class="\1"', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for stand_in, colour in PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    return re.sub(r"\s*\n\s*", "\n", text)
