"""Training curves: the epoch records of runs -> small charts, each with its numbers in words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.render.figures import Line, Plot, PlotWords, Style, curve_figure
from medstrata.report.render.formatting import counted, metric_name, percent, slug
from medstrata.report.render.parts import Heading, Part, Pictures, Text

Record = Mapping[str, Any]
Reading = Callable[[Record], float | None]
# One run's curve: the arm it is shown as, and its records.
Curve = tuple[str, Sequence[Record]]
# A small chart and the arms in it; its words tell where each curve begins and ends.
Chart = tuple[Plot, frozenset[str]]


def read(record: Record, *path: str) -> float | None:
    """The number at a path of keys, None where there is none."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def pretrain_curves(runs: Sequence[Pretrain], styles: Mapping[str, Style]) -> Iterator[Part]:
    """Losses, similarities, neighbours, and per stage the rank and the norm of the features."""
    curves: list[Curve] = [(run.label, run.files.epochs) for run in runs]
    plain = {
        "contrastive": "contrastive loss",
        "positive_similarity": "similarity of positives",
        "negative_similarity": "similarity of negatives",
    }
    first = [
        _chart(title, curves, _entry(key), styles, f"pretraining-{slug(key)}")
        for key, title in plain.items()
    ]
    groups = {
        ("Contrastive task and neighbours", _CONTRAST): [*first, *_neighbours(curves, styles)],
        ("Intermediate loss, by stage", _INTERMEDIATE): _staged(
            curves, styles, "intermediate", "intermediate loss"
        ),
        ("Effective rank, by stage", _RANK): _staged(
            curves, styles, "effective_rank", "effective rank"
        ),
        ("Feature norm, by stage", _NORM): _staged(curves, styles, "feature_norm", "feature norm"),
    }
    for (title, lead), charts in groups.items():
        for row in _row(charts, styles):
            yield from (Heading(title), Text(lead, "lead"), row)


def _row(charts: Sequence[Chart | None], styles: Mapping[str, Style]) -> Iterator[Pictures]:
    """The charts there are, in one row; nothing where there is none."""
    drawn = [chart for chart in charts if chart]
    if drawn:
        key = [arm for arm in styles if any(arm in arms for _, arms in drawn)]
        yield Pictures(plots=[plot for plot, _ in drawn], key=key, layout="charts")


_CONTRAST = (
    "The loss of picking each image's own second view out of the queue, the cosine similarity of "
    "the two views of one image and of different images, and how well the nearest neighbours of a "
    "validation image tell its class. The neighbours use labels to look, never to train."
)
_INTERMEDIATE = (
    "Before its weight in the total. Its scale is the loss's own: curves of different losses "
    "cannot be compared by height. Arms without an intermediate loss have no curve."
)
_RANK = (
    "How many directions the features of a stage use, on fixed images: 1 when all lie on one "
    "line. A fall towards 1 is collapse."
)
_NORM = "Mean length of the features. An intermediate MSE can fall merely because this shrinks."


def _staged(
    curves: Sequence[Curve], styles: Mapping[str, Style], key: str, quantity: str
) -> list[Chart | None]:
    stages: dict[str, None] = {}
    for _, records in curves:
        for record in records:
            found = record.get(key)
            stages.update(dict.fromkeys(found if isinstance(found, Mapping) else ()))
    return [
        _chart(
            f"{quantity}, {stage}",
            curves,
            _entry(key, stage),
            styles,
            f"pretraining-{slug(key)}-{i + 1}",
        )
        for i, stage in enumerate(stages)
    ]


def _neighbours(curves: Sequence[Curve], styles: Mapping[str, Style]) -> list[Chart | None]:
    """One chart for each task and metric that some run was looked at with."""
    asked = {
        _question(record): None
        for _, records in curves
        for record in records
        if read(record, "knn", "value") is not None
    }

    def answers(question: tuple[str, str]) -> Reading:
        return lambda record: (
            read(record, "knn", "value") if _question(record) == question else None
        )

    return [
        _chart(
            f"k-NN {metric_name(metric)}, {task}",
            curves,
            answers((task, metric)),
            styles,
            f"pretraining-knn-{i + 1}",
        )
        for i, (task, metric) in enumerate(asked)
    ]


def _question(record: Record) -> tuple[str, str]:
    asked = record.get("knn") or {}
    return str(asked.get("task")), str(asked.get("metric"))


def finetune_curves(
    comparison: Comparison[Finetune], styles: Mapping[str, Style]
) -> Iterator[Part]:
    """Training loss and validation score at each label fraction."""
    for fraction in comparison.fractions:
        at = comparison.at(fraction)
        runs = [run for runs in at.values() for run in runs]
        curves: list[Curve] = [(arm, run.files.epochs) for arm, runs in at.items() for run in runs]
        name = f"{comparison.name}-training-{slug(f'{100 * fraction:g}')}-percent"
        share = f"{percent(fraction)} of the labels"
        title = f"training loss, {share}"
        loss = _chart(title, curves, _entry("train_loss"), styles, f"{name}-loss")
        title = f"validation {metric_name(runs[0].metric)}, {share}"
        score = _chart(title, curves, _entry("val_score"), styles, f"{name}-score")
        for row in _row((loss, score), styles):
            yield Text(f"{share} ({counted(len(runs), 'run')})", "panel")
            yield row


def _entry(*path: str) -> Reading:
    return lambda record: read(record, *path)


def _chart(
    title: str,
    curves: Sequence[Curve],
    reading: Reading,
    styles: Mapping[str, Style],
    name: str,
) -> Chart | None:
    """Draw one quantity of all runs; None when no run has it."""
    # A linear head is fitted once for each penalty instead of epoch by epoch.
    by_penalty = all(read(one, "penalty") for _, records in curves for one in records)
    lines, ranges = [], []
    for arm, records in curves:
        y = [reading(record) for record in records]
        known = [value for value in y if value is not None]
        if known:
            x = [_place(record, i, by_penalty) for i, record in enumerate(records)]
            lines.append((arm, Line(style=styles[arm], x=x, y=y)))
            ranges.append(f"{arm} from {known[0]:.3g} to {known[-1]:.3g}")
    if not lines:
        return None
    x_label = "penalty on the weights" if by_penalty else "epoch"
    alt = f"{title} over {x_label}: {'; '.join(ranges)}."
    plot = curve_figure(
        [line for _, line in lines],
        PlotWords(name, title, alt),
        x_label=x_label,
        log_x=by_penalty,
    )
    return plot, frozenset(arm for arm, _ in lines)


def _place(record: Record, number: int, by_penalty: bool) -> float:
    penalty, epoch = read(record, "penalty"), read(record, "epoch")
    if by_penalty and penalty is not None:
        return penalty
    # Epochs are counted from 0 in the records and from 1 for readers.
    return (number if epoch is None else epoch) + 1
