"""Training curves: the epoch records of runs -> small charts, each with its numbers in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.render.figures import Line, Plot, PlotWords, Style, curve_figure
from medstrata.report.render.formatting import counted, metric_name, percent, percent_slug, slug
from medstrata.report.render.parts import Heading, Part, Pictures, Text

Record = Mapping[str, Any]
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


_PLAIN = {
    "contrastive": "contrastive loss",
    "positive_similarity": "similarity of positives",
    "negative_similarity": "similarity of negatives",
}
_CONTRAST = (
    "Contrastive task and neighbours",
    "The loss of picking each image's own second view out of the queue, the cosine similarity of "
    "the two views of one image and of different images, and how well the nearest neighbours of a "
    "validation image tell its class. The neighbours use labels to look, never to train.",
)
# What is recorded stage by stage: its name, and how to read it.
_STAGED = {
    "intermediate": (
        "Intermediate loss",
        "Before its weight in the total. Its scale is the loss's own: curves of different losses "
        "cannot be compared by height. Arms without an intermediate loss have no curve.",
    ),
    "effective_rank": (
        "Effective rank",
        "How many directions the features of a stage use, on fixed images: 1 when all lie on one "
        "line. A fall towards 1 is collapse.",
    ),
    "feature_norm": (
        "Feature norm",
        "Mean length of the features. An intermediate MSE can fall merely because this shrinks.",
    ),
}


def pretrain_curves(runs: Sequence[Pretrain], styles: Mapping[str, Style]) -> Iterator[Part]:
    """Losses, similarities, neighbours, and per stage the rank and the norm of the features."""
    curves: list[Curve] = [(run.label, run.files.epochs) for run in runs]
    plain = [
        _chart(curves, styles, title, f"pretraining-{slug(key)}", key)
        for key, title in _PLAIN.items()
    ]
    rows = {_CONTRAST: _row([*plain, *_neighbours(curves, styles)], styles)}
    for key, (quantity, lead) in _STAGED.items():
        charts = _staged(curves, styles, key, quantity.lower())
        rows[f"{quantity}, by stage", lead] = _row(charts, styles)
    for (title, lead), row in rows.items():
        for pictures in row:
            yield from (Heading(title), Text(lead, "lead"), pictures)


def _row(charts: Iterable[Chart | None], styles: Mapping[str, Style]) -> Iterator[Pictures]:
    """The charts there are, in one row; nothing where there is none."""
    drawn = [chart for chart in charts if chart]
    if drawn:
        key = [arm for arm in styles if any(arm in arms for _, arms in drawn)]
        yield Pictures(plots=[plot for plot, _ in drawn], key=key, layout="charts")


def _staged(
    curves: Sequence[Curve], styles: Mapping[str, Style], key: str, quantity: str
) -> Iterator[Chart | None]:
    by_stage = [record.get(key) for _, records in curves for record in records]
    stages = dict.fromkeys(stage for one in by_stage if isinstance(one, Mapping) for stage in one)
    for i, stage in enumerate(stages, 1):
        name = f"pretraining-{slug(key)}-{i}"
        yield _chart(curves, styles, f"{quantity}, {stage}", name, key, stage)


def _neighbours(curves: Sequence[Curve], styles: Mapping[str, Style]) -> Iterator[Chart | None]:
    """One chart for each task and metric that some run was looked at with."""
    questions = dict.fromkeys(
        _question(record)
        for _, records in curves
        for record in records
        if read(record, "knn", "value") is not None
    )
    for i, question in enumerate(questions, 1):
        asked = [
            (arm, [one if _question(one) == question else {**one, "knn": None} for one in records])
            for arm, records in curves
        ]
        task, metric = question
        title = f"k-NN {metric_name(metric)}, {task}"
        yield _chart(asked, styles, title, f"pretraining-knn-{i}", "knn", "value")


def _question(record: Record) -> tuple[str, str]:
    knn = record.get("knn") or {}
    return str(knn.get("task")), str(knn.get("metric"))


def chosen_records(run: Finetune) -> list[Record]:
    """The records of the learning rate or the layer that validation chose, and their start."""
    return [
        record
        for record in run.files.epochs
        if record.get("epoch_of_lr") == 0
        or all(record.get(name, value) == value for name, value in run.chosen.items())
    ]


def finetune_curves(
    comparison: Comparison[Finetune], styles: Mapping[str, Style]
) -> Iterator[Part]:
    """Training loss and validation score at each label fraction."""
    for fraction in comparison.fractions:
        at = comparison.at(fraction)
        runs = [run for runs in at.values() for run in runs]
        curves = [(arm, chosen_records(run)) for arm, runs in at.items() for run in runs]
        name = f"{comparison.name}-training-{percent_slug(fraction)}"
        share = f"{percent(fraction)} of the labels"
        title = f"training loss, {share}"
        loss = _chart(curves, styles, title, f"{name}-loss", "train_loss")
        title = f"validation {metric_name(runs[0].metric)}, {share}"
        score = _chart(curves, styles, title, f"{name}-score", "val_score")
        for row in _row((loss, score), styles):
            yield Text(f"{share} ({counted(len(runs), 'run')})", "panel")
            yield row


def _chart(
    curves: Sequence[Curve], styles: Mapping[str, Style], title: str, name: str, *path: str
) -> Chart | None:
    """Draw the number at a path of keys, of all runs; None when no run has it."""
    # A linear head is fitted once for each penalty instead of epoch by epoch.
    by_penalty = all(read(one, "penalty") for _, records in curves for one in records)
    lines, ranges = [], []
    for arm, records in curves:
        y = [read(record, *path) for record in records]
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
    if (validation := read(record, "epoch_of_lr")) is not None:
        return validation
    # Epochs are counted from 0 in the records and from 1 for readers.
    return (number if epoch is None else epoch) + 1
