"""Figures over the stages of an encoder: curves of all arms, and heat maps of stage by stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from medstrata.report.render.figures import (
    INK,
    MUTED,
    RULE,
    Plot,
    Style,
    page_style,
    plot,
    tag_artists,
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one arm reaches at one stage: a value, the ends of its bar, the values of its seeds."""

    value: float
    bar: tuple[float, float] | None
    seeds: tuple[float, ...]

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and the highest that is drawn."""
        ends = (self.value, *self.seeds, *(self.bar or ()))
        return min(ends), max(ends)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What values are read against, an entry for each stage: a band and a dashed line."""

    band: Sequence[tuple[float, float] | None] = ()
    line: Sequence[float | None] = ()


Curves = Mapping[str, Sequence[Point | None]]


def stage_limits(curves: Sequence[Curves]) -> tuple[float, float]:
    """One vertical range for several figures, so that they can be compared by eye."""
    ends = [
        end
        for one in curves
        for points in one.values()
        for point in points
        if point is not None
        for end in point.reach
    ]
    margin = 0.06 * (max(ends) - min(ends)) or 0.05
    return min(ends) - margin, max(ends) + margin


def stage_figure(
    curves: Curves,
    marks: Sequence[str],
    styles: Mapping[str, Style],
    *,
    name: str,
    title: str,
    alt: str,
    limits: tuple[float, float] | None = None,
    ground: Ground | None = None,
    log: bool = False,
) -> Plot:
    """One curve per arm over the stages, with bars and a ring for each seed.

    Args:
        curves: Arm -> a point for each stage, None where there is none.
        marks: What stands beneath each stage.
        styles: Arm -> style; its order is the order in which arms stand beside each other.
        name: Of the picture.
        title: Of the picture.
        alt: Of the picture.
        limits: Vertical range.
        ground: What the values are read against.
        log: Whether the vertical axis is logarithmic.
    """
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(5.0, 3.2))
        axes = figure.add_axes((0.1, 0.15, 0.89, 0.83))
        if ground is not None:
            _draw_ground(axes, ground)
        arms = [arm for arm in styles if arm in curves]
        step = min(0.09, 0.5 / max(len(arms), 1))
        for i, arm in enumerate(arms):
            _draw_curve(axes, styles[arm], curves[arm], (i - (len(arms) - 1) / 2) * step)
        axes.set_xticks(range(len(marks)), marks)
        axes.set_xlim(-0.45, len(marks) - 0.55)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("stage of the encoder")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        if limits is not None:
            axes.set_ylim(*limits)
        axes.grid(axis="y", color=RULE, lw=0.7)
        axes.set_axisbelow(True)
        return plot(figure, name=name, title=title, alt=alt)


def _draw_ground(axes: Axes, ground: Ground) -> None:
    for x, ends in enumerate(ground.band):
        if ends is not None:
            axes.fill_between([x - 0.4, x + 0.4], *ends, color=MUTED, alpha=0.3, lw=0)
    for x, value in enumerate(ground.line):
        if value is not None:
            axes.plot([x - 0.4, x + 0.4], [value, value], color=MUTED, ls=(0, (4, 2)), lw=1.1)


def _draw_curve(axes: Axes, style: Style, points: Sequence[Point | None], shift: float) -> None:
    marks = axes.plot(
        [x + shift for x in range(len(points))],
        [math.nan if point is None else point.value for point in points],
        color=style.colour,
        ls=style.dash,
        marker=style.marker,
        ms=5.5,
        mec="none",
        lw=1.4,
    )
    for x, point in enumerate(points):
        if point is None:
            continue
        place = x + shift
        if point.bar is not None:
            ends = [place, place]
            marks += axes.plot(ends, point.bar, color=style.colour, lw=1.1, marker="_", ms=4.5)
        if len(point.seeds) > 1:
            rings = [place] * len(point.seeds)
            marks += axes.plot(
                rings, point.seeds, "o", color=style.colour, ms=3, mfc="none", mew=0.8
            )
    tag_artists(marks, style)


def heat_figure(
    matrix: Sequence[Sequence[float | None]],
    marks: Sequence[str],
    *,
    name: str,
    title: str,
    alt: str,
) -> Plot:
    """A square of stage by stage, each value printed in its cell; colours run from 0 to 1.

    Args:
        matrix: Rows from the first stage, which is drawn at the top; None is left empty.
        marks: What stands beside each stage.
        name: Of the picture.
        title: Of the picture.
        alt: Of the picture.
    """
    colours = matplotlib.colormaps["cividis"]
    with rc_context(page_style(9)):
        figure = Figure(figsize=(2.6, 2.35))
        axes = figure.add_axes((0.2, 0.13, 0.79, 0.85))
        side = len(marks)
        axes.pcolormesh(
            [
                [math.nan if value is None else min(max(value, 0), 1) for value in row]
                for row in matrix
            ],
            cmap=colours,
            vmin=0,
            vmax=1,
            edgecolor="none",
        )
        for row, values in enumerate(matrix):
            for column, value in enumerate(values):
                # Black or white, whichever stands out more from the colour beneath.
                ink = INK if value is None else "#ffffff" if value < 0.55 else "#000000"
                text = "–" if value is None else f"{value:.2f}".replace("-", "−")
                axes.text(column + 0.5, row + 0.5, text, color=ink, ha="center", va="center")
        axes.set(xlim=(0, side), ylim=(side, 0))
        places = [place + 0.5 for place in range(side)]
        axes.set_xticks(places, marks)
        axes.set_yticks(places, marks)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return plot(figure, name=name, title=title, alt=alt)
