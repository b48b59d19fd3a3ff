"""Training curves: the epoch records of runs -> small charts, each with its numbers in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medstrata.report.compare.compare import Comparison
from medstrata.report.read.runs import Pretrain
from medstrata.report.render.figures import Line, Plot, Style, curve_figure
from medstrata.report.render.formatting import counted, metric_name, percent, slug

Record = Mapping[str, Any]
Reading = Callable[[Record], float | None]
# One run's curve: the arm it is shown as, and its records.
Curve = tuple[str, Sequence[Record]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One small chart; its `alt` tells in words where each curve begins and ends."""

    plot: Plot
    arms: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Charts that stand in one row under a heading, with what to look for in them."""

    title: str
    lead: str
    arms: tuple[str, ...]
    charts: tuple[Chart, ...]


def read(record: Record, *path: str) -> float | None:
    """The number at a path of keys, None where there is none."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def pretrain_charts(
    runs: Sequence[Pretrain],
    labels: Mapping[tuple[str, str], str],
    styles: Mapping[str, Style],
) -> list[Charts]:
    """Losses, similarities, neighbours, and per stage the rank and the norm of the features."""
    curves: list[Curve] = [(labels[run.arm, run.backbone], run.files.epochs) for run in runs]
    plain = {
        "contrastive": "contrastive loss",
        "positive_similarity": "similarity of positives",
        "negative_similarity": "similarity of negatives",
    }
    first = [
        _chart(title, curves, _entry(key), styles, f"pretraining-{slug(key)}")
        for key, title in plain.items()
    ]

    def by_stage(key: str, quantity: str) -> list[Chart | None]:
        return _staged(curves, styles, key, quantity)

    groups = [
        ("Contrastive task and neighbours", _CONTRAST, [*first, *_neighbours(curves, styles)]),
        (
            "Intermediate loss, by stage",
            _INTERMEDIATE,
            by_stage("intermediate", "intermediate loss"),
        ),
        ("Effective rank, by stage", _RANK, by_stage("effective_rank", "effective rank")),
        ("Feature norm, by stage", _NORM, by_stage("feature_norm", "feature norm")),
    ]
    made = [_group(title, lead, charts, styles) for title, lead, charts in groups]
    return [group for group in made if group.charts]


def _group(
    title: str, lead: str, charts: Sequence[Chart | None], styles: Mapping[str, Style]
) -> Charts:
    drawn = tuple(chart for chart in charts if chart)
    arms = tuple(arm for arm in styles if any(arm in chart.arms for chart in drawn))
    return Charts(title=title, lead=lead, arms=arms, charts=drawn)


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


def finetune_charts(comparison: Comparison, styles: Mapping[str, Style], name: str) -> list[Charts]:
    """Training loss and validation score at each label fraction."""
    groups = []
    for fraction in comparison.fractions:
        runs = comparison.at(fraction)
        curves: list[Curve] = [
            (arm, run.files.epochs)
            for arm in comparison.arms
            for run in comparison.runs.get((arm, fraction), ())
        ]
        at = f"{name}-{slug(f'{100 * fraction:g}')}-percent"
        share = f"{percent(fraction)} of the labels"
        title = f"training loss, {share}"
        loss = _chart(title, curves, _entry("train_loss"), styles, f"{at}-loss")
        title = f"validation {metric_name(runs[0].metric)}, {share}"
        score = _chart(title, curves, _entry("val_score"), styles, f"{at}-score")
        groups.append(_group(share, counted(len(runs), "run"), (loss, score), styles))
    return [group for group in groups if group.charts]


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
    return Chart(
        plot=curve_figure(
            [line for _, line in lines],
            name=name,
            title=title,
            alt=f"{title} over {x_label}: {'; '.join(ranges)}.",
            x_label=x_label,
            log_x=by_penalty,
        ),
        arms=frozenset(arm for arm, _ in lines),
    )


def _place(record: Record, number: int, by_penalty: bool) -> float:
    penalty, epoch = read(record, "penalty"), read(record, "epoch")
    if by_penalty and penalty is not None:
        return penalty
    # Epochs are counted from 0 in the records and from 1 for readers.
    return (number if epoch is None else epoch) + 1
