"""Whether probabilities mean what they say: reliability diagrams, ECE and Brier score."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.resampling import Floats
from medstrata.metrics.scores import CALIBRATION_BINS
from medstrata.report.compare.comparison import Comparison, best_arms
from medstrata.report.read.results import Finetune
from medstrata.report.render.figures import (
    MUTED,
    Plot,
    PlotWords,
    Style,
    draw_curve,
    label_panels,
    page_style,
    plot,
    tag_artists,
    unit_square,
)
from medstrata.report.render.formatting import percent, score_text
from medstrata.report.render.parts import Part, Pictures
from medstrata.report.render.tables import TableCell, arm_table, summary_cell
from medstrata.report.sections.section import Section, headed_parts

_SCORES = {"ece": "ECE", "brier": "Brier"}


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Predictions in bins of equal width by probability; bins without predictions are left out.

    Attributes:
        bins: Number of each bin, 0..14.
        counts: Predictions in it.
        probability: Their mean probability.
        frequency: The share of them that came true.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    probability: Floats
    frequency: Floats


def reliability(
    target: NDArray[Any], probabilities: Sequence[Floats], kind: TaskKind
) -> Reliability:
    """Bin the predictions of several models together, as `scores.ece` bins those of one.

    Args:
        target: Shape (N,), or (N, M) of a multilabel task, whose labels are taken together.
        probabilities: One (N, M) array a model.
        kind: Of the task; with several classes, the probability of the predicted class.

    Returns:
        At most 15 bins.
    """
    pairs = [_outcomes(target, one, kind) for one in probabilities]
    stated = np.concatenate([one for one, _ in pairs])
    true = np.concatenate([one for _, one in pairs])
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    place = np.searchsorted(edges, stated, side="left")
    counts = np.bincount(place, minlength=CALIBRATION_BINS)
    bins = np.flatnonzero(counts)
    sums = [np.bincount(place, one, CALIBRATION_BINS)[bins] for one in (stated, true)]
    return Reliability(
        bins=bins,
        counts=counts[bins],
        probability=sums[0] / counts[bins],
        frequency=sums[1] / counts[bins],
    )


def _outcomes(target: NDArray[Any], probability: Floats, kind: TaskKind) -> tuple[Floats, Floats]:
    """Probabilities and whether they came true, 0 or 1, both flat; unknown labels left out."""
    if kind == "binary":
        return probability[:, 0], np.asarray(target, dtype=np.float64)
    if kind == "multilabel":
        known = ~np.isnan(target)
        return probability[known], target[known]
    chosen = probability.argmax(axis=1)
    return probability.max(axis=1), (chosen == target).astype(np.float64)


def calibration_section(
    comparisons: Sequence[Comparison[Finetune]], styles: Mapping[str, Style]
) -> Section:
    """Every comparison with calibration scores or predictions."""
    return Section(
        anchor="calibration",
        title="Calibration",
        short="Calibration",
        lead="Whether a probability of 0.8 comes true eight times in ten. ECE is the mean distance "
        f"between stated probability and frequency over {CALIBRATION_BINS} bins of equal width, "
        "the Brier score the mean squared error of the probabilities; less is better in both. ECE "
        "of few images is never 0, even of a perfect model. Nothing was recalibrated.",
        parts=headed_parts(comparisons, partial(_parts, styles=styles)),
    )


def _parts(comparison: Comparison[Finetune], styles: Mapping[str, Style]) -> Iterator[Part]:
    predictions = comparison.predictions
    cells = {
        (arm, fraction): reliability(predictions.target, predictions.of(runs), predictions.kind)
        for arm in comparison.arms
        for fraction in comparison.fractions
        if (runs := comparison.predicted(arm, fraction))
    }
    scored = {
        (metric, fraction): column
        for metric in _SCORES
        for fraction, column in comparison.columns(metric).items()
    }
    if scored:
        yield arm_table(
            f"{comparison.name}-calibration",
            f"Calibration, less is better: {comparison.clause}",
            comparison.arms,
            {
                key: TableCell(_SCORES[key[0]], notes=(f"{percent(key[1])} of labels",))
                for key in scored
            },
            {
                (arm, key): summary_cell(one, *one.interval_notes, best=arm in leaders)
                for key, column in scored.items()
                for leaders in [best_arms(column, key[0])]
                for arm, one in column.items()
            },
            note=f"Mean over seeds with its {percent(LEVEL)} interval over patients.",
        )
    if not cells:
        return
    arms = [arm for arm in comparison.arms if any(arm == one for one, _ in cells)]
    whose = {
        "binary": f"that an image is {comparison.task.classes[-1]}",
        "multilabel": "of each label, all labels together",
    }.get(comparison.task.kind, "of the predicted class")
    yield Pictures(
        plots=[_diagrams(f"{comparison.name}-reliability", cells, arms, styles)],
        key=arms,
        layout="",
        caption=f"Frequency against stated probability {whose}; a row for each share of labels, a "
        "column for each arm in the order of the key. On the diagonal, probabilities come true as "
        "often as they say; below it they are too high. Bars at the foot: how many predictions of "
        "all seeds fall into each bin, the number being that of the fullest.",
    )


def _diagrams(
    name: str,
    cells: Mapping[tuple[str, float], Reliability],
    arms: Sequence[str],
    styles: Mapping[str, Style],
) -> Plot:
    fractions = sorted({fraction for _, fraction in cells})
    with rc_context(page_style(8)):
        figure = Figure(figsize=(0.5 + 1.5 * max(len(arms), 3), 0.45 + 1.5 * len(fractions)))
        grid = figure.subplots(len(fractions), len(arms), sharex=True, sharey=True, squeeze=False)
        for i, fraction in enumerate(fractions):
            for j, arm in enumerate(arms):
                _draw(grid[i, j], cells.get((arm, fraction)), styles[arm])
            grid[i, 0].set_ylabel(f"{percent(fraction)} of labels")
        label_panels(figure, "stated probability", 0.06)
        leanings = "; ".join(
            f"{arm} at {percent(fraction)}, {_leaning(one)}"
            for (arm, fraction), one in cells.items()
        )
        alt = (
            "Frequency against stated probability, a panel for each arm and share of labels: "
            f"{leanings}."
        )
        return plot(figure, PlotWords(name, "Reliability", alt))


def _leaning(binned: Reliability) -> str:
    """Whether probabilities are too high or too low in the mean."""
    gap = np.average(binned.probability - binned.frequency, weights=binned.counts)
    return f"mean probability less frequency {score_text(float(gap))}"


def _draw(axes: Axes, binned: Reliability | None, style: Style) -> None:
    unit_square(axes)
    if binned is None:
        axes.text(0.5, 0.5, "–", color=MUTED)
        return
    axes.plot([0, 1], [0, 1], color=MUTED, lw=0.6)
    middles = (binned.bins + 0.5) / CALIBRATION_BINS
    heights = 0.22 * binned.counts / binned.counts.max()
    bars = axes.bar(middles, heights, 0.8 / CALIBRATION_BINS, color=style.colour, alpha=0.3, lw=0)
    fullest = int(binned.counts.argmax())
    axes.text(
        float(np.clip(middles[fullest], 0.14, 0.86)),
        heights[fullest] + 0.02,
        f"{binned.counts[fullest]:,}",
        ha="center",
        fontsize=6.5,
        color=MUTED,
    )
    tag_artists(bars, style)
    draw_curve(axes, style, binned.probability, binned.frequency, ms=3.2, lw=1.1)
