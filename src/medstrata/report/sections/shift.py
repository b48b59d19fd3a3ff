"""How far the probabilities of a model with few labels lie from those of one with all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.metrics.ks import KsDistances, KsInterval, cdf, ks_interval
from medstrata.report.compare.compare import Bench, Comparison
from medstrata.report.read.predictions import LEVEL, RESAMPLES, Predictions
from medstrata.report.read.runs import Finetune
from medstrata.report.render.figures import (
    MUTED,
    Plot,
    Style,
    page_style,
    plot,
    tag_artists,
    unit_square,
)
from medstrata.report.render.formatting import (
    counted,
    percent,
    score_text,
)
from medstrata.report.render.sections import Block, Section, section_of
from medstrata.report.render.tables import Cell, Table

_GRID = np.linspace(0, 1, 81)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Distances between pairs of models, averaged over the pairs.

    Attributes:
        mean: Of all classes.
        per_class: In the order of the columns of probability.
        pairs: How many pairs of models.
    """

    mean: KsInterval
    per_class: tuple[KsInterval, ...]
    pairs: int


def average(found: Sequence[KsDistances]) -> Shift:
    """Average distances over pairs of models; so are the ends of their intervals.

    All pairs are of the same patients, so their errors go together and hardly average out: the mean
    of the ends is an interval a little too wide, never one that shrinks with more seeds.
    """
    return Shift(
        mean=_middle([one.mean for one in found]),
        per_class=tuple(
            _middle(same) for same in zip(*(one.per_class for one in found), strict=True)
        ),
        pairs=len(found),
    )


def _middle(found: Sequence[KsInterval]) -> KsInterval:
    value, low, high = np.mean([(one.value, one.low, one.high) for one in found], axis=0)
    return KsInterval(value=float(value), low=float(low), high=float(high))


def shift_section(
    found: Sequence[tuple[str, Bench, Comparison]], styles: Mapping[str, Style]
) -> Section | None:
    """Every comparison in which an arm was trained on few labels and on all.

    Args:
        found: (name for files, bench, comparison).
        styles: Arm -> style.
    """
    return section_of(
        (_block(*one, styles) for one in found),
        anchor="shift",
        title="Few labels against all: how far the probabilities move",
        short="Shift",
        lead="The Kolmogorov-Smirnov distance is the largest gap between two cumulative "
        "distributions: here of the test probabilities of a model tuned on few labels and of one "
        "tuned on all, seed by seed, then averaged over seeds. 0 means that the two models spread "
        "their probabilities alike, which does not make either right. Chance and the start alone "
        "move probabilities too: beside each arm stands the same distance between models of two "
        f"seeds, both tuned on all labels, as the floor. The {percent(LEVEL)} interval is over "
        f"patients ({RESAMPLES:,} resamples), its ends averaged over seeds; chance only adds to a "
        "distance, so the interval lies mostly below the value. Near the floor it is too narrow.",
    )


def shifts(comparison: Comparison, arm: str) -> dict[float, Shift]:
    """Fraction below 1 -> distance from the arm's models on all labels; at 1 the floor."""
    predictions = comparison.predictions
    cells = {fraction: comparison.predicted(arm, fraction) for fraction in comparison.fractions}
    full = cells.get(1.0, [])
    by_seed = {run.seed: run for run in full}
    pairs: dict[float, list[tuple[Finetune, Finetune]]] = {
        fraction: [(run, by_seed[run.seed]) for run in runs if run.seed in by_seed]
        for fraction, runs in cells.items()
        if fraction < 1
    }
    pairs[1.0] = list(combinations(full, 2))
    return {
        fraction: average([_between(predictions, *pair) for pair in some])
        for fraction, some in pairs.items()
        if some
    }


def _between(predictions: Predictions, few: Finetune, many: Finetune) -> KsDistances:
    first, second = predictions.of([few, many])
    return ks_interval(first, second, predictions.patient_ids, resamples=RESAMPLES, level=LEVEL)


def _block(
    name: str, bench: Bench, comparison: Comparison, styles: Mapping[str, Style]
) -> Block | None:
    found = {arm: shifts(comparison, arm) for arm in comparison.arms}
    few = sorted({fraction for one in found.values() for fraction in one if fraction < 1})
    if not few:
        return None
    found = {arm: one for arm, one in found.items() if one}
    classes = bench.task.classes[1:] if bench.task.kind == "binary" else bench.task.classes
    shown = _widest(found, few[0])
    moved = tuple(arm for arm in found if few[0] in found[arm])
    several = len(classes) > 1
    return Block(
        heading=bench.heading(comparison),
        tables=(_table(f"{name}-shift", bench, comparison, found, few),),
        folded=tuple(
            _class_table(f"{name}-shift-{i}", bench, found, fraction, classes)
            for i, fraction in enumerate(few)
        )
        if several
        else (),
        folded_title="Each class",
        plots=(_curves(f"{name}-shift", comparison, moved, few[0], shown, styles),),
        arms=moved,
        caption=f"Cumulative distribution of the test probability of {classes[shown]}"
        f"{', the class that moves most' if several else ''}: a panel for each arm in the order of "
        f"the key, a line for each seed. Solid: all labels; dotted: {percent(few[0])} of them.",
    )


def _widest(found: Mapping[str, Mapping[float, Shift]], fraction: float) -> int:
    """The class that moves most, over all arms."""
    moved = [
        [one.value for one in shift[fraction].per_class]
        for shift in found.values()
        if fraction in shift
    ]
    return int(np.mean(moved, axis=0).argmax())


def _table(
    name: str,
    bench: Bench,
    comparison: Comparison,
    found: Mapping[str, Mapping[float, Shift]],
    few: Sequence[float],
) -> Table:
    several = bench.task.kind != "binary"
    return Table(
        name=name,
        caption=f"Kolmogorov-Smirnov distance{', mean of the classes' if several else ''}: "
        f"{bench.under(comparison)}",
        heads=(
            Cell(text="Arm"),
            *(Cell(text=f"{percent(one)} against all") for one in few),
            Cell(text="Floor", notes=("two seeds, all labels",)),
        ),
        rows=tuple(
            (
                Cell(text=arm, arm=arm),
                *(_entry(shift.get(one), "seed") for one in few),
                _entry(shift.get(1.0), "pair"),
            )
            for arm, shift in found.items()
        ),
    )


def _entry(shift: Shift | None, noun: str) -> Cell:
    if shift is None:
        return Cell(text="no pair")
    return _distance(shift.mean, counted(shift.pairs, noun))


def _distance(found: KsInterval, *notes: str) -> Cell:
    return Cell(
        text=score_text(found.value),
        number=found.value,
        interval=(found.low, found.high),
        notes=notes,
    )


def _class_table(
    name: str,
    bench: Bench,
    found: Mapping[str, Mapping[float, Shift]],
    fraction: float,
    classes: Sequence[str],
) -> Table:
    return Table(
        name=name,
        caption=f"Kolmogorov-Smirnov distance of each class, {percent(fraction)} of the labels "
        f"against all: {bench.where}",
        heads=(Cell(text="Arm"), *(Cell(text=one) for one in classes)),
        rows=tuple(
            (
                Cell(text=arm, arm=arm),
                *(_distance(one) for one in shift[fraction].per_class),
            )
            for arm, shift in found.items()
            if fraction in shift
        ),
    )


def _curves(
    name: str,
    comparison: Comparison,
    arms: Sequence[str],
    few: float,
    column: int,
    styles: Mapping[str, Style],
) -> Plot:
    predictions = comparison.predictions
    with rc_context(page_style(8)):
        figure = Figure(figsize=(0.5 + 1.6 * max(len(arms), 3), 1.95))
        grid = figure.subplots(1, max(len(arms), 3), sharey=True, squeeze=False)[0]
        for axes, arm in zip(grid, arms, strict=False):
            for fraction, dash in ((few, ":"), (1.0, "-")):
                runs = comparison.predicted(arm, fraction)
                for values in predictions.of(runs):
                    line = axes.plot(
                        _GRID,
                        cdf(values[:, column], _GRID),
                        color=styles[arm].colour,
                        ls=dash,
                        lw=1.1,
                    )
                    tag_artists(line, styles[arm])
            unit_square(axes)
        for axes in grid[len(arms) :]:
            axes.set_axis_off()
        grid[0].set_ylabel("share of images")
        width, height = figure.get_size_inches()
        figure.subplots_adjust(
            0.5 / width, 0.42 / height, 1 - 0.08 / width, 1 - 0.08 / height, 0.12
        )
        figure.supxlabel("probability", y=0.02 / height, fontsize=8, color=MUTED)
        return plot(
            figure,
            name=name,
            title="Probabilities with few labels and with all",
            alt="Cumulative distributions of test probabilities, a panel for each arm; the "
            "distances are in the table.",
        )
