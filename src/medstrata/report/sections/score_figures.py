"""Score against the share of labels, every arm in one figure."""

import math
from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from medstrata.report.compare.compare import Summary
from medstrata.report.render.figures import Plot, Style, page_style, plot, rule, tag_artists
from medstrata.report.render.formatting import percent


def score_limits(columns: Sequence[Mapping[str, Summary]]) -> tuple[float, float]:
    """One vertical range for all figures of a metric, so that they can be compared by eye."""
    ends = [end for column in columns for summary in column.values() for end in summary.reach]
    margin = 0.06 * (max(ends) - min(ends)) or 0.05
    return min(ends) - margin, max(ends) + margin


def score_figure(
    columns: Mapping[float, Mapping[str, Summary]],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    *,
    name: str,
    title: str,
    alt: str,
) -> Plot:
    """Score against the label fraction: mean, interval over patients, and each seed.

    Args:
        columns: Fraction -> arm -> summary.
        styles: Arm -> style; its order is the order in which arms stand beside each other.
        limits: Vertical range.
        name: Of the picture.
        title: Of the picture.
        alt: Of the picture.
    """
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(5.5, 3.5))
        axes = figure.add_axes((0.085, 0.14, 0.905, 0.85))
        fractions = sorted(columns)
        arms = [arm for arm in styles if any(arm in column for column in columns.values())]
        width = max(math.log10(fractions[-1] / fractions[0]), 0.7)
        for i, arm in enumerate(arms):
            shift = 10 ** ((i - (len(arms) - 1) / 2) * min(0.02, 0.12 / len(arms)) * width)
            _draw_arm(axes, styles[arm], [(f * shift, columns[f].get(arm)) for f in fractions])
        axes.set_xscale("log")
        axes.set_xlim(fractions[0] * 10 ** (-0.12 * width), fractions[-1] * 10 ** (0.12 * width))
        axes.xaxis.set_major_locator(FixedLocator(fractions))
        axes.xaxis.set_major_formatter(FixedFormatter([percent(one) for one in fractions]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(*limits)
        axes.set_xlabel("labelled share of the training images (log scale)")
        rule(axes)
        return plot(figure, name=name, title=title, alt=alt)


def _draw_arm(axes: Axes, style: Style, points: list[tuple[float, Summary | None]]) -> None:
    drawn = [(x, summary) for x, summary in points if summary is not None]
    marks = axes.plot(
        [x for x, _ in points],
        [math.nan if summary is None else summary.value for _, summary in points],
        color=style.colour,
        ls=style.dash,
        marker=style.marker,
        ms=6,
        mec="none",
        lw=1.5,
    )
    for x, summary in drawn:
        colour = style.colour
        if summary.interval is not None:
            marks += axes.plot([x, x], summary.interval, color=colour, lw=1.2, marker="_", ms=5)
        if len(summary.seeds) > 1:
            places = [x] * len(summary.seeds)
            marks += axes.plot(
                places, summary.seeds, "o", color=colour, ms=3.2, mfc="none", mew=0.9
            )
    tag_artists(marks, style)
