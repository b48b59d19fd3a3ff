"""Figures of summaries, an arm a curve: over the share of labels, and over the stages."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator

from medstrata.report.render.figures import (
    MUTED,
    Plot,
    PlotWords,
    Style,
    add_horizontal_grid,
    draw_curve,
    draw_line,
    page_style,
    plot,
    set_ticks,
)
from medstrata.report.render.formatting import percent
from medstrata.report.render.run_summary import Summary

# (Arm, stage) -> summary.
Curves = Mapping[tuple[str, str], Summary]


@dataclass(frozen=True, kw_only=True)
class ReferenceBand:
    """What values are read against, an entry for each stage: a band and a dashed line."""

    band: Sequence[tuple[float, float] | None] = ()
    line: Sequence[float | None] = ()


def common_limits(summaries: Iterable[Summary | None]) -> tuple[float, float]:
    """One vertical range for several figures, so that they can be compared by eye."""
    ends = [end for one in summaries if one is not None for end in one.reach]
    margin = 0.06 * (max(ends) - min(ends)) or 0.05
    return min(ends) - margin, max(ends) + margin


def fraction_figure(
    columns: Mapping[float, Mapping[str, Summary]],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    words: PlotWords,
) -> Plot:
    """Scores against the share of labels.

    Args:
        columns: Fraction -> arm -> summary.
        styles: Arm -> style; its order is the order in which arms stand beside each other.
        limits: Vertical range.
        words: Of the picture.
    """
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(5.5, 3.5))
        axes = figure.add_axes((0.085, 0.14, 0.905, 0.85))
        draw_fractions(axes, columns, styles)
        axes.set_ylim(*limits)
        return plot(figure, words)


def draw_fractions(
    axes: Axes, columns: Mapping[float, Mapping[str, Summary]], styles: Mapping[str, Style]
) -> None:
    """The same on axes that there are."""
    fractions = sorted(columns)
    arms = [arm for arm in styles if any(arm in column for column in columns.values())]
    width = max(math.log10(fractions[-1] / fractions[0]), 0.7)
    for i, arm in enumerate(arms):
        shift = 10 ** ((i - (len(arms) - 1) / 2) * min(0.02, 0.12 / len(arms)) * width)
        places = [fraction * shift for fraction in fractions]
        _draw_arm(axes, styles[arm], places, [columns[one].get(arm) for one in fractions])
    axes.set_xscale("log")
    axes.set_xlim(fractions[0] * 10 ** (-0.12 * width), fractions[-1] * 10 ** (0.12 * width))
    marks = FixedFormatter([percent(one) for one in fractions])
    set_ticks(axes.xaxis, FixedLocator(fractions), marks)
    axes.set_xlabel("labelled share of the training images (log scale)")
    add_horizontal_grid(axes)


def stage_figure(
    curves: Curves,
    marks: Mapping[str, str],
    styles: Mapping[str, Style],
    words: PlotWords,
    *,
    limits: tuple[float, float] | None = None,
    ground: ReferenceBand | None = None,
) -> Plot:
    """Values over the stages.

    Args:
        curves: The summaries of each arm.
        marks: Stage -> what stands beneath it, in order.
        styles: Arm -> style; its order is the order in which arms stand beside each other.
        words: Of the picture.
        limits: Vertical range; without it the vertical axis is logarithmic.
        ground: What the values are read against.
    """
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(5.0, 3.2))
        axes = figure.add_axes((0.1, 0.15, 0.89, 0.83))
        if ground is not None:
            _draw_ground(axes, ground)
        arms = [arm for arm in styles if any(arm == one for one, _ in curves)]
        step = min(0.09, 0.5 / max(len(arms), 1))
        for i, arm in enumerate(arms):
            shift = (i - (len(arms) - 1) / 2) * step
            places = [x + shift for x in range(len(marks))]
            _draw_arm(axes, styles[arm], places, [curves.get((arm, one)) for one in marks])
        axes.set_xticks(range(len(marks)), list(marks.values()))
        axes.set_xlim(-0.45, len(marks) - 0.55)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("stage of the encoder")
        if limits is not None:
            axes.set_ylim(*limits)
        else:
            axes.set_yscale("log")
            set_ticks(axes.yaxis, LogLocator(base=10, subs=(1, 2, 5), numticks=12))
        add_horizontal_grid(axes)
        return plot(figure, words)


def _draw_ground(axes: Axes, ground: ReferenceBand) -> None:
    for x, ends in enumerate(ground.band):
        if ends is not None:
            axes.fill_between([x - 0.4, x + 0.4], *ends, color=MUTED, alpha=0.3, lw=0)
    for x, value in enumerate(ground.line):
        if value is not None:
            axes.plot([x - 0.4, x + 0.4], [value, value], color=MUTED, ls=(0, (4, 2)), lw=1.1)


def _draw_arm(
    axes: Axes, style: Style, places: Sequence[float], summaries: Sequence[Summary | None]
) -> None:
    """A curve through the values, a bar at each, and a ring for each seed where there are more."""
    values = [None if one is None else one.value for one in summaries]
    draw_curve(axes, style, places, values, ms=6, lw=1.5)
    for x, one in zip(places, summaries, strict=True):
        if one is not None and one.interval is not None:
            draw_line(axes, style, [x, x], one.interval, lw=1.2, marker="_", ms=5)
        if one is not None and len(one.runs) > 1:
            rings = {"marker": "o", "ms": 3.2, "mfc": "none", "mew": 0.9, "ls": "none"}
            draw_line(axes, style, [x] * len(one.runs), one.runs, **rings)
