"""Maps of images by their features: points of a run folder, how they are coloured, the drawing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.path as paths
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from numpy.typing import NDArray

from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Atlas
from medstrata.report.render.figures import (
    BLUE,
    INK,
    MUTED,
    Plot,
    PlotWords,
    page_style,
    plot,
)

# Okabe and Ito's again, strongest first, the page's ink last.
_COLOURS = ("#d55e00", BLUE, "#e69f00", "#009e73", "#cc79a7", "#56b4e9", INK)
# So many points are drawn; more would make the page heavy and no clearer.
LIMIT = 1500
# Points of one colour are drawn in so many layers, lest the last colour hide the others.
_LAYERS = 8


@dataclass(frozen=True, kw_only=True)
class MapPoints:
    """A map as it was stored; the columns of words hold None where nothing is known."""

    places: NDArray[np.float64]  # (N, 2)
    columns: Mapping[str, tuple[str | None, ...]]  # "label", "patient_id", "site"


@dataclass(frozen=True, kw_only=True)
class Colouring:
    """What colours stand for: (colour in a drawing, name, images).

    The entry without a name stands for all others.
    """

    column: str
    entries: tuple[tuple[str, str | None, int], ...]


def read_points(run: Atlas) -> MapPoints | ReportNote:
    """Read map.parquet of a run, or say why it cannot be shown."""
    path = run.files.folder / "map.parquet"
    if not path.is_file():
        return ReportNote(what=run.files.name, why="no map.parquet: its map is not shown")
    try:
        table = pq.read_table(path)
        places = np.stack([table[axis].to_numpy().astype(np.float64) for axis in ("x", "y")], 1)
        columns = {name: _words(table[name]) for name in ("label", "patient_id", "site")}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return ReportNote(
            what=run.files.name, why="map.parquet cannot be read: its map is not shown"
        )
    if not len(places) or not np.isfinite(places).all():
        return ReportNote(what=run.files.name, why="map.parquet has no usable places: left out")
    return MapPoints(places=places, columns=columns)


def _words(column: pa.ChunkedArray) -> tuple[str | None, ...]:
    return tuple(None if one is None or one != one else str(one) for one in column.to_pylist())


def colouring(column: str, maps: Sequence[MapPoints], order: Sequence[str] = ()) -> Colouring:
    """Give the most frequent values of a column a colour each; grey is left for the others.

    Args:
        column: Of the points.
        maps: Of all arms, so that a colour means the same in each.
        order: Values that come first, in this order, such as the classes of a task.
    """
    counts = Counter(one for points in maps[:1] for one in points.columns[column])
    for points in maps[1:]:
        # The maps show the same images as a rule; what only one holds is counted there.
        counts |= Counter(points.columns[column])
    unknown = counts.pop(None, 0)
    frequent = sorted(counts, key=lambda one: (-counts[one], str(one)))
    named = [
        *(one for one in order if one in counts),
        *(one for one in frequent if one not in order),
    ]
    shown, rest = named[: len(_COLOURS)], named[len(_COLOURS) :]
    entries = [(colour, one, counts[one]) for colour, one in zip(_COLOURS, shown, strict=False)]
    others = unknown + sum(counts[one] for one in rest)
    if others:
        entries.append((MUTED, None, others))
    return Colouring(column=column, entries=tuple(entries))


def map_figure(points: MapPoints, colours: Colouring, words: PlotWords) -> Plot:
    """Draw a map, one dot an image."""
    of = {value: colour for colour, value, _ in colours.entries}
    values = points.columns[colours.column]
    colour = np.array([of.get(value, MUTED) for value in values])
    shown = np.unique(np.linspace(0, len(colour) - 1, min(LIMIT, len(colour))).astype(int))
    places, colour = _unit(points.places)[shown], colour[shown]
    size = 3.4 if len(shown) < 600 else 2.4
    with rc_context(page_style(9)):
        figure = Figure(figsize=(3.0, 3.0))
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        for layer in range(_LAYERS):
            for one in (MUTED, *(shade for shade, _, _ in colours.entries if shade != MUTED)):
                dots = places[layer::_LAYERS][colour[layer::_LAYERS] == one]
                if len(dots):
                    axes.add_patch(_dots(dots, one, size))
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(True)
        return plot(figure, words)


def _unit(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift and shrink a map, by the same factor both ways, into the middle of a unit square."""
    low, high = places.min(axis=0), places.max(axis=0)
    scaled: NDArray[np.float64] = (places - (low + high) / 2) / max(
        float((high - low).max()), 1e-12
    )
    return scaled + 0.5


def _dots(places: NDArray[np.float64], colour: str, size: float) -> PathPatch:
    """Points as strokes of next to no length with round ends: a tenth of the size of markers."""
    ends = np.repeat(places, 2, axis=0)
    ends[1::2, 0] += 1e-5
    codes = np.tile([paths.Path.MOVETO, paths.Path.LINETO], len(places)).astype(np.uint8)
    faint = 0.35 if colour == MUTED else 0.85
    return PathPatch(
        paths.Path(ends, codes),
        facecolor="none",
        edgecolor=colour,
        lw=size,
        capstyle="round",
        alpha=faint,
        snap=False,
    )
