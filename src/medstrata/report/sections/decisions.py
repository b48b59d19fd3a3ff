"""How well classes are told apart and decided on: curves, confusion matrices, scores by class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medstrata.metrics.defaults import LEVEL, RESAMPLES
from medstrata.metrics.metric import METRICS
from medstrata.metrics.operating_curves import operating_curves
from medstrata.metrics.resampling import Floats, Resamples
from medstrata.report.compare.comparison import Comparison, ranked
from medstrata.report.compare.differences import ContrastFamily
from medstrata.report.read.predictions import Predictions, resampling_interval
from medstrata.report.read.results import Finetune
from medstrata.report.render.figures import (
    MUTED,
    Plot,
    PlotWords,
    Style,
    draw_line,
    page_style,
    plot,
    tag_artists,
    unit_square,
)
from medstrata.report.render.formatting import counted, percent, percent_slug, score_text
from medstrata.report.render.parts import Part, Pictures
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_cell,
    count_cell,
    number_cell,
    text_cells,
)
from medstrata.report.sections.section import Section, headed_parts

# Arms, and shares of the labels.
ShownCells = tuple[Sequence[str], Sequence[float]]
# Name of a comparison -> what is looked at closely of it.
Shown = Mapping[str, ShownCells]

_LEAD = (
    "The arm that is best with the fewest labels beside the first baseline, with the fewest labels "
    "and the most. Everything is the mean over their runs; bands and brackets are "
    f"{percent(LEVEL)} intervals over patients, the trained models staying as they are."
)
_GRID = np.linspace(0, 1, 101)
_DRAWN = 200  # resamples of a band, and of scores that need every sample's place
_DECIDED = ("Sensitivity", "Specificity", "Precision", "F1")
_CURVES = {
    "roc": ("ROC", "1 − specificity", "sensitivity"),
    "precision-recall": ("Precision-recall", "recall", "precision"),
}


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What runs decide at their thresholds, on the samples and then on each resample.

    Attributes:
        confusion: Images by true and by predicted class, mean over runs; None of several labels.
        scores: Name -> mean over runs, (1 + R, classes); NaN where not defined.
        thresholds: Class -> threshold of each run; none where the largest probability decides.
    """

    confusion: Floats | None
    scores: Mapping[str, Floats]
    thresholds: Mapping[str, Sequence[float]]


def shown_arms(comparison: Comparison[Finetune], families: Sequence[ContrastFamily]) -> ShownCells:
    """The best arm with the fewest labels and the first baseline, or the next best; few and all."""
    fractions = [one for one in comparison.fractions if comparison.column(one, comparison.metric)]
    if not fractions:
        return (), ()
    order = ranked(comparison.column(fractions[0], comparison.metric), comparison.metric)
    baselines = [family.baseline for family in families if family.baseline in order]
    others = [arm for arm in (*baselines, *order) if arm != order[0]]
    return (order[0], *others[:1]), tuple(dict.fromkeys((fractions[0], fractions[-1])))


def decisions_section(
    comparisons: Sequence[Comparison[Finetune]], shown: Shown, styles: Mapping[str, Style]
) -> Section:
    """Every comparison with predictions: its best arm beside a baseline, few labels and all."""
    parts = headed_parts(comparisons, lambda one: _parts(one, shown[one.name], styles))
    title = "Curves and decisions"
    return Section(anchor="decisions", title=title, short="Curves", lead=_LEAD, parts=parts)


def _parts(
    comparison: Comparison[Finetune], shown: ShownCells, styles: Mapping[str, Style]
) -> Iterator[Part]:
    arms, fractions = shown
    wanted = [(arm, fraction) for fraction in fractions for arm in arms]
    cells = {cell: runs for cell in wanted if (runs := comparison.predicted(*cell))}
    if not cells:
        return
    several = comparison.task.kind != "binary"
    mean = ", the mean of the classes, each against the rest" if several else ""
    plots = [
        one for fraction in fractions for one in _curve_plots(comparison, fraction, cells, styles)
    ]
    caption = (
        f"ROC and precision-recall curves{mean}, mean over runs. Bands: {percent(LEVEL)} interval "
        f"over patients at each place ({_DRAWN} resamples). Grey: chance."
    )
    if plots:
        yield Pictures(plots=plots, key=arms, layout="charts", caption=caption)
    decided = {cell: decide(comparison, runs) for cell, runs in cells.items()}
    yield _class_table(comparison, cells, decided)
    if comparison.task.kind != "multilabel":
        yield _confusion_table(comparison, decided)


def _columns(predictions: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[int]]:
    """What is true and what is known of each class with a column, both (N, M), and their places."""
    target = predictions.target
    if target.ndim == 2:
        return target == 1, ~np.isnan(target), list(range(target.shape[1]))
    columns = next(iter(predictions.probability.values())).shape[1]
    places = [1] if columns == 1 else list(range(columns))
    truth = target[:, None] == np.array(places)
    return truth, np.ones_like(truth), places


def _judged(predictions: Predictions) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_], int]]:
    """Of each column that has positive and negative images: which are, of which rows, and it."""
    truth, known, _ = _columns(predictions)
    columns = ((truth[rows, i], rows, i) for i, rows in enumerate(known.T))
    return [one for one in columns if 0 < one[0].sum() < len(one[0])]


def _first_resamples(predictions: Predictions) -> Resamples:
    """The samples as they are, then so many resamples as bands are made of."""
    resamples = predictions.resamples
    return Resamples(resamples.counts[: _DRAWN + 1], resamples.groups)


def _curve_plots(
    comparison: Comparison[Finetune],
    fraction: float,
    cells: Mapping[tuple[str, float], Sequence[Finetune]],
    styles: Mapping[str, Style],
) -> Iterator[Plot]:
    """Both curves at a share of the labels."""
    predictions = comparison.predictions
    judged = _judged(predictions)
    if not judged:
        return
    chance = float(np.mean([positive.mean() for positive, _, _ in judged]))
    drawn = {
        arm: _mean_curves(predictions, runs)
        for (arm, share), runs in cells.items()
        if share == fraction
    }
    for place, (name, (title, x_label, y_label)) in enumerate(_CURVES.items()):
        with rc_context(page_style(9)):
            figure = Figure(figsize=(3.0, 2.75))
            axes = figure.add_axes((0.17, 0.165, 0.8, 0.81))
            unit_square(axes)
            axes.plot([0, 1], [0, 1] if name == "roc" else [chance] * 2, color=MUTED, lw=0.6)
            means = []
            for arm, curves in drawn.items():
                curve = curves[place]
                defined = curve[1:][~np.isnan(curve[1:, 0])]
                if len(defined):
                    ends = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
                    colour = styles[arm].colour
                    band = axes.fill_between(_GRID, *ends, color=colour, alpha=0.18, lw=0)
                    tag_artists([band], styles[arm])
                start = [0.0] if name == "roc" else [curve[0, 0]]
                draw_line(
                    axes,
                    styles[arm],
                    np.append(0, _GRID),
                    np.append(start, curve[0]),
                    lw=1.4,
                    ls=styles[arm].dash,
                    clip_on=False,
                )
                means.append(f"{arm} {score_text(float(curve[0].mean()))}")
            axes.set_xlabel(x_label)
            axes.set_ylabel(y_label, labelpad=2)
            share = f"{percent(fraction)} of labels"
            words = PlotWords(
                f"{comparison.name}-{name}-{percent_slug(fraction)}",
                f"{title}, {share}",
                f"{title} with {share}; mean {y_label}: {', '.join(means)}.",
            )
            yield plot(figure, words)


def _mean_curves(predictions: Predictions, runs: Sequence[Finetune]) -> tuple[Floats, Floats]:
    """Mean over runs and classes of both curves, each (1 + R, G)."""
    resamples = _first_resamples(predictions)
    curves = [
        operating_curves(
            positive,
            probability[rows, column],
            Resamples(resamples.counts, resamples.groups[rows]),
            _GRID,
        )
        for probability in predictions.of(runs)
        for positive, rows, column in _judged(predictions)
    ]
    # A resample in which a class has no curve leaves it out, as the scores do.
    roc, precision_recall = (_mean_defined([one[i] for one in curves]) for i in range(2))
    return roc, precision_recall


def _mean_defined(curves: Sequence[Floats]) -> Floats:
    """Mean over curves (1 + R, G) where they are defined, NaN where none is."""
    known = ~np.isnan(curves)
    total = np.where(known, curves, 0).sum(axis=0)
    mean = np.full(total.shape, np.nan)
    np.divide(total, known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def decide(comparison: Comparison[Finetune], runs: Sequence[Finetune]) -> Decided:
    """Apply to each run the thresholds that it chose on validation, and score what comes out."""
    predictions, classes = comparison.predictions, comparison.task.classes
    truth, known, places = _columns(predictions)
    scores: dict[str, list[Floats]] = {name: [] for name in _DECIDED}
    confusion, thresholds = [], dict[str, list[float]]()
    for run, probability in zip(runs, predictions.of(runs), strict=True):
        if len(places) == len(classes) and predictions.kind != "multilabel":
            chosen = probability.argmax(axis=1)
            called = chosen[:, None] == np.array(places)
        else:
            cuts = [run.threshold(classes[place]) for place in places]
            for place, cut in zip(places, cuts, strict=True):
                thresholds.setdefault(classes[place], []).append(cut)
            called = (probability >= cuts) & known
            chosen = called[:, 0].astype(np.int64)
        if predictions.kind != "multilabel":
            pairs = predictions.target * len(classes) + chosen
            counts = np.bincount(pairs, minlength=len(classes) ** 2)
            confusion.append(counts.reshape(len(classes), -1))
        totals = predictions.resamples.totals
        right, wrong, missed, left = (
            totals((a & b & known).astype(np.float64))
            for a, b in ((truth, called), (~truth, called), (truth, ~called), (~truth, ~called))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            scores["Sensitivity"].append(right / (right + missed))
            scores["Specificity"].append(left / (left + wrong))
            scores["Precision"].append(right / (right + wrong))
            scores["F1"].append(2 * right / (2 * right + wrong + missed))
    return Decided(
        confusion=np.mean(confusion, axis=0) if confusion else None,
        scores={name: np.mean(values, axis=0) for name, values in scores.items()},
        thresholds=thresholds,
    )


def _class_table(
    comparison: Comparison[Finetune],
    cells: Mapping[tuple[str, float], Sequence[Finetune]],
    decided: Mapping[tuple[str, float], Decided],
) -> Table:
    """A row for each class with a column of probability, of each arm and share of labels."""
    predictions, classes = comparison.predictions, comparison.task.classes
    truth, _, places = _columns(predictions)
    # Of two classes these stand among the results.
    ordered = ("macro_auroc", "average_precision") if len(places) > 1 else ()
    thresholds = any(one.thresholds for one in decided.values())
    rows = []
    for (arm, fraction), one in decided.items():
        for column, place in enumerate(places):
            found = [
                _order_cell(predictions, cells[arm, fraction], column, name) for name in ordered
            ]
            found += [_score_cell(one.scores[name][:, column]) for name in _DECIDED]
            cuts = one.thresholds.get(classes[place], ())
            if thresholds:
                found.append(TableCell(_span(cuts), sum(cuts) / len(cuts)))
            patients = len(np.unique(predictions.patient_ids[truth[:, column]]))
            images = count_cell(int(truth[:, column].sum()), counted(patients, "patient"))
            share = TableCell(percent(fraction), fraction)
            rows.append((arm_cell(arm), share, TableCell(classes[place]), images, *found))
    heads = ["Arm", "Labels", "Class", "Images"]
    heads += ["AUROC", "Average precision"][: len(ordered)]
    heads += [*_DECIDED, *(["Threshold"] if thresholds else [])]
    how = (
        "Decided at the threshold that each run chose on validation (Youden's index); "
        "the scores by 0.5 are among the results"
        if thresholds
        else "The most probable class is predicted"
    )
    return Table(
        name=f"{comparison.name}-classes",
        caption=f"Scores by class: {comparison.clause}",
        heads=text_cells(*heads),
        rows=tuple(rows),
        note=f"Mean over runs with its {percent(LEVEL)} interval over patients ({RESAMPLES:,} "
        f"resamples{f', {_DRAWN} of AUROC and average precision' if ordered else ''}). "
        f"{how}.",
    )


def _order_cell(
    predictions: Predictions, runs: Sequence[Finetune], column: int, name: str
) -> TableCell:
    """A score of one class against the rest that needs no threshold."""
    truth, known, _ = _columns(predictions)
    rows, resamples = known[:, column], _first_resamples(predictions)
    drawn = Resamples(resamples.counts, resamples.groups[rows])
    target = truth[rows, column].astype(np.int64)
    return _score_cell(
        np.mean(
            [
                METRICS[name](target, probability[rows][:, [column]], "binary", drawn)
                for probability in predictions.of(runs)
            ],
            axis=0,
        )
    )


def _score_cell(values: Floats) -> TableCell:
    """A score of the samples as they are, with the interval that its resamples give."""
    if np.isnan(values[0]):
        return number_cell(None)
    return number_cell(float(values[0]), interval=resampling_interval(values[1:]))


def _span(cuts: Sequence[float]) -> str:
    low, high = score_text(min(cuts)), score_text(max(cuts))
    return low if low == high else f"{low} to {high}"


def _confusion_table(
    comparison: Comparison[Finetune], decided: Mapping[tuple[str, float], Decided]
) -> Table:
    classes = comparison.task.classes
    rows = []
    for (arm, fraction), one in decided.items():
        confusion = cast(Floats, one.confusion)
        for true, name in enumerate(classes):
            images = confusion[true].sum()
            rows.append(
                (
                    arm_cell(arm),
                    TableCell(percent(fraction), fraction),
                    TableCell(name),
                    *(
                        TableCell(
                            f"{number:,.1f}".removesuffix(".0"),
                            float(number),
                            notes=(percent(round(number / images, 2)),) if images else (),
                        )
                        for number in confusion[true]
                    ),
                )
            )
    return Table(
        name=f"{comparison.name}-confusion",
        caption=f"Confusion matrix, test images by true and predicted class: {comparison.clause}",
        heads=text_cells("Arm", "Labels", "True class", *(f"called {name}" for name in classes)),
        rows=tuple(rows),
        note="Mean over runs, each deciding by its own threshold; in small, the share of the true "
        "class.",
    )
