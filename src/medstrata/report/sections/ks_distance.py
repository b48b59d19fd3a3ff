"""KS distance between the probabilities of models with few labels and those with all."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.metrics.defaults import LEVEL, RESAMPLES
from medstrata.metrics.ks_distance import KsDistance, KsDistances, cdf, ks_interval
from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.predictions import Predictions
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
from medstrata.report.render.formatting import counted, interval_text, percent
from medstrata.report.render.parts import Collapsible, Part, Pictures
from medstrata.report.render.tables import Table, TableCell, arm_table, number_cell
from medstrata.report.sections.section import Section, headed_parts

# Fraction below 1 -> distance from models on all labels; at 1 the floor.
KsByFraction = Mapping[float, KsDistances]

_GRID = np.linspace(0, 1, 81)


def average(distances: Sequence[KsDistances]) -> KsDistances:
    """Average distances over pairs of models; so are the ends of their intervals.

    All pairs are of the same patients, so their errors go together and hardly average out: the mean
    of the ends is an interval a little too wide, never one that shrinks with more seeds.
    """
    classes = zip(*(one.per_class for one in distances), strict=True)
    return KsDistances(
        per_class=tuple(_mean(same_class) for same_class in classes),
        mean=_mean([one.mean for one in distances]),
        pairs=tuple(sorted(one.mean.value for one in distances)),
    )


def _mean(distances: Sequence[KsDistance]) -> KsDistance:
    value, low, high = np.mean([(one.value, one.low, one.high) for one in distances], axis=0)
    return KsDistance(value=float(value), low=float(low), high=float(high))


def ks_section(comparisons: Sequence[Comparison[Finetune]], styles: Mapping[str, Style]) -> Section:
    """Every comparison in which an arm was trained on few labels and on all."""
    return Section(
        anchor="ks-distance",
        title="KS distance: few labels against all",
        short="KS distance",
        lead="The KS (Kolmogorov-Smirnov) distance is the largest gap between two cumulative "
        "distributions: here of the test probabilities of a model tuned on few labels and of one "
        "tuned on all, seed by seed, then averaged over seeds. 0 means that the two models spread "
        "their probabilities alike, which does not make either right. Chance and the start alone "
        "move probabilities too: beside each arm stands the same distance between models of two "
        f"seeds, both tuned on all labels, as the floor. The {percent(LEVEL)} interval is over "
        f"patients ({RESAMPLES:,} resamples), its ends averaged over seeds; chance only adds to a "
        "distance, so the interval lies mostly below the value. Near the floor it is too narrow.",
        parts=headed_parts(comparisons, partial(_parts, styles=styles)),
    )


def ks_distances(comparison: Comparison[Finetune], arm: str) -> KsByFraction:
    """Fraction below 1 -> KS distance from the arm's models on all labels; at 1 the floor."""
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
    distances = {arm: one for arm in comparison.arms if (one := ks_distances(comparison, arm))}
    few = sorted({fraction for one in distances.values() for fraction in one if fraction < 1})
    if not few:
        return
    task = comparison.task
    classes = task.classes[1:] if task.kind == "binary" else task.classes
    several = len(classes) > 1
    yield _distances_table(comparison, distances, few)
    shown = _most_distant(distances, few[0])
    arms = [arm for arm in distances if few[0] in distances[arm]]
    yield Pictures(
        plots=[_curves(comparison, arms, few[0], shown, styles)],
        key=arms,
        layout="",
        caption=f"Cumulative distribution of the test probability of {classes[shown]}"
        f"{', the class with the largest distance' if several else ''}: a panel for each arm in "
        "the order of the key, a line for each seed. Solid: all labels; dotted: "
        f"{percent(few[0])} of them.",
    )
    if several:
        tables = [_class_table(comparison, distances, one, classes, i) for i, one in enumerate(few)]
        yield Collapsible(title="Each class", parts=tables)


def _most_distant(distances: Mapping[str, KsByFraction], fraction: float) -> int:
    """The class with the largest distance, over all arms."""
    per_class = [
        [one.value for one in by_fraction[fraction].per_class]
        for by_fraction in distances.values()
        if fraction in by_fraction
    ]
    return int(np.mean(per_class, axis=0).argmax())


def _distances_table(
    comparison: Comparison[Finetune],
    distances: Mapping[str, KsByFraction],
    few: Sequence[float],
) -> Table:
    heads = {one: TableCell(f"{percent(one)} against all") for one in few}
    heads[1.0] = TableCell("Floor", notes=("two seeds, all labels",))
    several = comparison.task.kind != "binary"
    return arm_table(
        f"{comparison.name}-ks-distance",
        f"KS distance{', mean of the classes' if several else ''}: {comparison.clause}",
        distances,
        heads,
        {
            (arm, one): _distance_cell(of.mean, _pairs_note(of, "run" if one < 1 else "pair"))
            for arm, by_fraction in distances.items()
            for one, of in by_fraction.items()
        },
        missing="no pair",
    )


def _pairs_note(distances: KsDistances, noun: str) -> str:
    """How many pairs of models there are, and from where to where they lie."""
    several = len(distances.pairs) > 1
    span = f": {interval_text((distances.pairs[0], distances.pairs[-1]))}" if several else ""
    return f"{counted(len(distances.pairs), noun)}{span}"


def _distance_cell(distance: KsDistance, *notes: str) -> TableCell:
    return number_cell(distance.value, *notes, interval=(distance.low, distance.high))


def _class_table(
    comparison: Comparison[Finetune],
    distances: Mapping[str, KsByFraction],
    fraction: float,
    classes: Sequence[str],
    number: int,
) -> Table:
    at_fraction = {
        arm: by_fraction[fraction]
        for arm, by_fraction in distances.items()
        if fraction in by_fraction
    }
    return arm_table(
        f"{comparison.name}-ks-distance-{number}",
        f"KS distance of each class, {percent(fraction)} of the labels against "
        f"all: {comparison.where}",
        at_fraction,
        dict(enumerate(map(TableCell, classes))),
        {
            (arm, i): _distance_cell(one)
            for arm, of in at_fraction.items()
            for i, one in enumerate(of.per_class)
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
            f"{comparison.name}-ks-distance",
            "Probabilities with few labels and with all",
            "Cumulative distributions of test probabilities, a panel for each arm; the distances "
            "are in the table.",
        )
        return plot(figure, words)
