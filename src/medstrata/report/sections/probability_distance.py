"""How far the probabilities of a model with few labels lie from those of one with all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.metrics.ks import KsDistances, KsInterval, cdf, ks_interval
from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.predictions import LEVEL, RESAMPLES, Predictions
from medstrata.report.read.results import Finetune
from medstrata.report.render.figures import (
    Plot,
    PlotWords,
    Style,
    draw_line,
    label_panels,
    page_style,
    plot,
    unit_square,
)
from medstrata.report.render.formatting import counted, percent
from medstrata.report.render.parts import (
    Collapsible,
    Heading,
    Part,
    Pictures,
    Section,
    SectionWords,
    section_of,
)
from medstrata.report.render.tables import Table, TableCell, arm_table, number_cell

_GRID = np.linspace(0, 1, 81)


@dataclass(frozen=True, kw_only=True)
class ArmDistances:
    """Distances between pairs of models, averaged over the pairs.

    Attributes:
        mean: Of all classes.
        per_class: In the order of the columns of probability.
        pairs: How many pairs of models.
    """

    mean: KsInterval
    per_class: tuple[KsInterval, ...]
    pairs: int


def average(found: Sequence[KsDistances]) -> ArmDistances:
    """Average distances over pairs of models; so are the ends of their intervals.

    All pairs are of the same patients, so their errors go together and hardly average out: the mean
    of the ends is an interval a little too wide, never one that shrinks with more seeds.
    """
    return ArmDistances(
        mean=_middle([one.mean for one in found]),
        per_class=tuple(
            _middle(same) for same in zip(*(one.per_class for one in found), strict=True)
        ),
        pairs=len(found),
    )


def _middle(found: Sequence[KsInterval]) -> KsInterval:
    value, low, high = np.mean([(one.value, one.low, one.high) for one in found], axis=0)
    return KsInterval(value=float(value), low=float(low), high=float(high))


_WORDS = SectionWords(
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


def shift_section(
    found: Sequence[Comparison[Finetune]], styles: Mapping[str, Style]
) -> Section | None:
    """Every comparison in which an arm was trained on few labels and on all."""
    return section_of(_WORDS, (part for one in found for part in _parts(one, styles)))


def shifts(comparison: Comparison[Finetune], arm: str) -> dict[float, ArmDistances]:
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


def _parts(comparison: Comparison[Finetune], styles: Mapping[str, Style]) -> Iterator[Part]:
    found = {arm: one for arm in comparison.arms if (one := shifts(comparison, arm))}
    few = sorted({fraction for one in found.values() for fraction in one if fraction < 1})
    if not few:
        return
    task = comparison.task
    classes = task.classes[1:] if task.kind == "binary" else task.classes
    several = len(classes) > 1
    yield Heading(comparison.heading)
    yield _table(comparison, found, few)
    shown = _widest(found, few[0])
    moved = [arm for arm in found if few[0] in found[arm]]
    yield Pictures(
        plots=[_curves(comparison, moved, few[0], shown, styles)],
        key=moved,
        layout="",
        caption=f"Cumulative distribution of the test probability of {classes[shown]}"
        f"{', the class that moves most' if several else ''}: a panel for each arm in the order of "
        f"the key, a line for each seed. Solid: all labels; dotted: {percent(few[0])} of them.",
    )
    if several:
        tables = [_class_table(comparison, found, one, classes, i) for i, one in enumerate(few)]
        yield Collapsible(title="Each class", parts=tables)


def _widest(found: Mapping[str, Mapping[float, ArmDistances]], fraction: float) -> int:
    """The class that moves most, over all arms."""
    moved = [
        [one.value for one in shift[fraction].per_class]
        for shift in found.values()
        if fraction in shift
    ]
    return int(np.mean(moved, axis=0).argmax())


def _table(
    comparison: Comparison[Finetune],
    found: Mapping[str, Mapping[float, ArmDistances]],
    few: Sequence[float],
) -> Table:
    heads = {one: TableCell(f"{percent(one)} against all") for one in few}
    heads[1.0] = TableCell("Floor", notes=("two seeds, all labels",))
    several = comparison.task.kind != "binary"
    return arm_table(
        f"{comparison.name}-shift",
        f"Kolmogorov-Smirnov distance{', mean of the classes' if several else ''}: "
        f"{comparison.clause}",
        found,
        heads,
        {
            (arm, one): _distance(of.mean, counted(of.pairs, "seed" if one < 1 else "pair"))
            for arm, shift in found.items()
            for one, of in shift.items()
        },
        missing="no pair",
    )


def _distance(found: KsInterval, *notes: str) -> TableCell:
    return number_cell(found.value, *notes, interval=(found.low, found.high))


def _class_table(
    comparison: Comparison[Finetune],
    found: Mapping[str, Mapping[float, ArmDistances]],
    fraction: float,
    classes: Sequence[str],
    number: int,
) -> Table:
    moved = {arm: shift[fraction] for arm, shift in found.items() if fraction in shift}
    return arm_table(
        f"{comparison.name}-shift-{number}",
        f"Kolmogorov-Smirnov distance of each class, {percent(fraction)} of the labels against "
        f"all: {comparison.where}",
        moved,
        dict(enumerate(map(TableCell, classes))),
        {
            (arm, i): _distance(one)
            for arm, shift in moved.items()
            for i, one in enumerate(shift.per_class)
        },
    )


def _curves(
    comparison: Comparison[Finetune],
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
                    curve = cdf(values[:, column], _GRID)
                    draw_line(axes, styles[arm], _GRID, curve, ls=dash, lw=1.1)
            unit_square(axes)
        for axes in grid[len(arms) :]:
            axes.set_axis_off()
        grid[0].set_ylabel("share of images")
        label_panels(figure, "probability", 0.08)
        words = PlotWords(
            f"{comparison.name}-shift",
            "Probabilities with few labels and with all",
            "Cumulative distributions of test probabilities, a panel for each arm; the distances "
            "are in the table.",
        )
        return plot(figure, words)
