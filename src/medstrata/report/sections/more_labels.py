"""What more labels would bring: learning curves fitted to the shares studied, and beyond them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.learning_curve import PowerLaw, fit_power_law
from medstrata.metrics.metric import LOWER_IS_BETTER, METRICS
from medstrata.metrics.resampling import Floats
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.run_grid import RunGrid, run_grid
from medstrata.report.read.predictions import resampling_interval
from medstrata.report.read.results import Finetune
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
    tag_artists,
)
from medstrata.report.render.formatting import metric_name, percent, sentence, signed
from medstrata.report.render.parts import Part, Pictures, Text
from medstrata.report.render.tables import Table, TableCell, arm_cell, number_cell, text_cells
from medstrata.report.sections.decisions import Shown
from medstrata.report.sections.section import Section, headed_parts

_TIMES = (2, 4)  # all labels
_ENOUGH = 0.01  # a gain below this is not worth the labels
_MISSES = 0.02  # a fitted curve that is further from a score than this does not describe it
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The fitted curve of one arm; scores are turned so that more is better.

    Attributes:
        labels: Labelled images at each share, ascending, (F,).
        scores: Mean scores there, (F,).
        law: Fitted to these, then to each resample: (1 + R,).
        lacking: As of `RunGrid`, of the share that has least.
    """

    labels: Floats
    scores: Floats
    law: PowerLaw
    lacking: str

    def gain(self, times: float) -> tuple[float, tuple[float, float] | None]:
        """What so many times all labels would add, with its interval."""
        most = self.labels[-1]
        gains = self.law.at(times * most) - self.law.at(most)
        return float(gains[0]), resampling_interval(gains[1:])

    @property
    def missed(self) -> float:
        """How far the curve is from the score that it fits worst."""
        fitted = np.array([self.law.at(one)[0] for one in self.labels])
        return float(np.abs(fitted - self.scores).max())

    @property
    def verdict(self) -> str:
        """Whether more labels would help, or why that cannot be told."""
        if self.lacking:
            return f"cannot tell: {self.lacking}"
        if self.missed > _MISSES:
            return f"cannot tell: the curve misses a score by {self.missed:.3f}"
        _, interval = self.gain(_TIMES[0])
        if interval is None or interval[0] < _ENOUGH <= interval[1]:
            return "cannot tell: too uncertain"
        return "yes" if interval[0] >= _ENOUGH else f"hardly: less than {_ENOUGH}"


def outlook(comparison: Comparison[Finetune], arm: str) -> Outlook | None:
    """Fit the curve of an arm; None with fewer than three shares of the labels.

    A resample draws patients, the same for every share, and at each share seeds and draws of the
    labels.
    """
    grids = {
        fraction: grid
        for fraction in comparison.fractions
        if (grid := run_grid(comparison.predicted(arm, fraction))) is not None
    }
    if len(grids) < 3 or not comparison.predictions.knows(comparison.metric):
        return None
    sign = -1 if comparison.metric in LOWER_IS_BETTER else 1
    known = comparison.metric in METRICS
    labels = np.array([_images(grid) for grid in grids.values()])
    generator = np.random.Generator(np.random.PCG64(_SEED))
    scores = np.stack(
        [
            _resampled(grid.scores(comparison.predictions, comparison.metric), generator)
            for grid in grids.values()
        ],
        axis=1,
    )
    defined = sign * scores[~np.isnan(scores).any(axis=1)]
    if np.isnan(scores[0]).any() or len(defined) < 2 or len(np.unique(labels)) < 3:
        return None
    law = fit_power_law(labels, defined, (0.0 if sign < 0 else 1.0) if known else np.inf)
    lacking = next((one.lacking for one in grids.values() if one.lacking), "")
    return Outlook(labels=labels, scores=defined[0], law=law, lacking=lacking)


def _images(grid: RunGrid) -> float:
    return float(np.mean([run.subset.images for row in grid.rows for runs in row for run in runs]))


def _resampled(scores: Floats, generator: np.random.Generator) -> Floats:
    """Means over seeds and draws as they are, then drawn anew: (S, D, 1 + R) -> (1 + R,)."""
    seeds, draws, count = scores.shape
    means = [scores[:, :, 0].mean()]
    for column in range(1, count):
        rows = generator.integers(seeds, size=seeds)
        drawn = generator.integers(draws, size=draws)
        means.append(scores[np.ix_(rows, drawn)][:, :, column].mean())
    return np.array(means)


def more_labels_section(
    comparisons: Sequence[Comparison[Finetune]], shown: Shown, styles: Mapping[str, Style]
) -> Section:
    """A table and a figure for each comparison of three shares of the labels or more."""
    parts = headed_parts(comparisons, lambda one: _parts(one, shown[one.name][0], styles))
    lacking = "Cannot be told: a curve needs predictions at three shares of the labels or more."
    return Section(
        anchor="more-labels",
        title="Would more labels help?",
        short="More labels",
        lead="An inverse power law, score = a − b / nᶜ with n labels, fitted by least squares "
        "to the shares studied and followed beyond them, as if further labels were of like "
        f"images. The {percent(LEVEL)} interval refits it to other patients, seeds and draws of "
        "the labels; that learning follows this law at all it takes for granted, and three shares "
        f"cannot contradict it. Yes: twice the labels add {_ENOUGH} or more, by the lower end; "
        f"hardly: less than {_ENOUGH}, by the upper end.",
        parts=parts or [Text(lacking)],
    )


def _parts(
    comparison: Comparison[Finetune], arms: Sequence[str], styles: Mapping[str, Style]
) -> Iterator[Part]:
    found = {arm: one for arm in comparison.arms if (one := outlook(comparison, arm)) is not None}
    if not found:
        return
    metric = metric_name(comparison.metric)
    yield Table(
        name=f"{comparison.name}-more-labels",
        caption=f"What more labels would add to {metric}: {comparison.clause}",
        heads=text_cells(
            "Arm", *(f"{times} times all labels" for times in _TIMES), "Would more labels help?"
        ),
        rows=tuple(
            (
                arm_cell(arm),
                *(_gain_cell(*one.gain(times)) for times in _TIMES),
                TableCell(one.verdict.partition(": ")[0], notes=_why(one)),
            )
            for arm, one in found.items()
        ),
    )
    shown = [arm for arm in arms if arm in found]
    if shown:
        yield Pictures(
            plots=[_figure(comparison, {arm: found[arm] for arm in shown}, styles)],
            key=shown,
            caption=f"{sentence(metric)} against labelled images: means over runs, and the fitted "
            f"curve with its {percent(LEVEL)} band. Right of the vertical line nothing was "
            "measured.",
        )


def _why(one: Outlook) -> tuple[str, ...]:
    _, colon, why = one.verdict.partition(": ")
    return (why,) if colon else ()


def _gain_cell(gain: float, interval: tuple[float, float] | None) -> TableCell:
    return number_cell(gain, interval=interval, write=signed)


def _figure(
    comparison: Comparison[Finetune], shown: Mapping[str, Outlook], styles: Mapping[str, Style]
) -> Plot:
    sign = -1 if comparison.metric in LOWER_IS_BETTER else 1
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(5.5, 3.2))
        axes = figure.add_axes((0.1, 0.15, 0.88, 0.82))
        for arm, one in shown.items():
            places = np.geomspace(one.labels[0], _TIMES[-1] * one.labels[-1], 60)
            curves = sign * np.stack([one.law.at(place) for place in places], axis=1)
            ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            low, high = np.quantile(curves[1:], ends, axis=0)
            band = axes.fill_between(places, low, high, color=styles[arm].colour, alpha=0.18, lw=0)
            tag_artists([band], styles[arm])
            draw_line(axes, styles[arm], places, curves[0], lw=1.4)
            draw_curve(axes, styles[arm], one.labels, sign * one.scores, lw=0, ms=6)
        axes.axvline(max(one.labels[-1] for one in shown.values()), color=MUTED, lw=0.9, ls=":")
        axes.set_xscale("log")
        set_ticks(axes.xaxis, LogLocator(subs=(1, 3), numticks=12))
        axes.set_xlabel("labelled images for training (log scale)")
        add_horizontal_grid(axes)
        metric = metric_name(comparison.metric)
        said = "; ".join(
            f"{arm}, {times} times all labels: {signed(one.gain(times)[0])}"
            for arm, one in shown.items()
            for times in _TIMES
        )
        words = PlotWords(
            f"{comparison.name}-more-labels",
            f"{sentence(metric)}, and what more labels would bring",
            f"{metric} against labelled images with fitted curves. {said}.",
        )
        return plot(figure, words)
