"""What the runs were made of and on: data, labelled subsets, pre-training runs, machines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medstrata.report.compare.compare import Bench
from medstrata.report.read.facts import RunFiles
from medstrata.report.read.runs import Finetune, Pretrain
from medstrata.report.render.formatting import (
    counted,
    duration,
    kind_name,
    metric_name,
    percent,
    score_text,
    span,
)
from medstrata.report.render.tables import Cell, Table, count_cell, text_cells
from medstrata.report.sections.curves import read

_NONE = Cell(text="–")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Runs that share an environment."""

    runs: tuple[str, ...]
    table: Table


def data_table(benches: Sequence[Bench]) -> Table:
    """Every split of every data set, with the task it was used for."""
    heads = (
        "Data set",
        "Split",
        "Images",
        "Patients",
        "Labelled images",
        "Classes",
        "Task",
        "Judged by",
        "Image size",
    )
    return Table(
        name="data",
        caption="Images, patients and labels of each data set and split",
        heads=text_cells(*heads),
        rows=tuple(row for bench in benches for row in _split_rows(bench)),
        note="Labelled: with a label for the task. Behind each class stands its number of images "
        "where the data audit counted them.",
    )


def _split_rows(bench: Bench) -> list[tuple[Cell, ...]]:
    store, task = bench.store, bench.task
    ends = (
        Cell(text=task.name, notes=(kind_name(task.kind),)),
        Cell(text=metric_name(bench.metric)),
        Cell(
            text=f"{store.size} × {store.size}",
            number=store.size,
            notes=(counted(store.channels, "channel"),),
        ),
    )
    name = Cell(text=store.name)
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            Cell(text=split),
            count_cell(part.images),
            count_cell(part.patients),
            count_cell(part.labelled),
            Cell(text=_classes(bench, split)),
            *ends,
        )
        for split, part in store.splits.items()
    ]
    if rows:
        return rows
    patients = _NONE if store.patients is None else count_cell(store.patients)
    classes = Cell(text=", ".join(task.classes))
    return [(name, Cell(text="all"), count_cell(store.images), patients, _NONE, classes, *ends)]


def _classes(bench: Bench, split: str) -> str:
    """The classes, each with its images where an audit of the store counted them."""
    for comparison in bench.comparisons:
        for runs in comparison.runs.values():
            for run in runs:
                counts = _audited(run.files, bench.task.name, split)
                if set(counts) == set(bench.task.classes):
                    return ", ".join(f"{one}: {int(counts[one]):,}" for one in bench.task.classes)
    return ", ".join(bench.task.classes)


def _audited(files: RunFiles, task: str, split: str) -> Mapping[str, Any]:
    found: Any = files.audit
    for key in ("labels", task, "splits", split, "per_class"):
        found = found.get(key) if isinstance(found, Mapping) else None
    numbers = isinstance(found, Mapping) and all(isinstance(one, int) for one in found.values())
    return found if numbers else {}


def subset_table(bench: Bench, name: str) -> Table:
    """How many labelled images, of how many patients and of which classes, the arms were given."""
    runs = [run for one in bench.comparisons for given in one.runs.values() for run in given]
    given = (name for run in runs for name in run.per_class)
    classes = tuple(dict.fromkeys((*bench.task.classes, *given)))
    fractions = sorted({run.fraction for run in runs})
    rows = (_subset([run for run in runs if run.fraction == one], classes) for one in fractions)
    return Table(
        name=f"{name}-labelled-subsets",
        caption="Labelled training images the arms were given, a range where seeds differ: "
        + bench.where,
        heads=text_cells("Share of labels", "Images", "Patients", *classes),
        rows=tuple(rows),
    )


def _subset(runs: Sequence[Finetune], classes: Sequence[str]) -> tuple[Cell, ...]:
    fraction = runs[0].fraction
    return (
        Cell(text=percent(fraction), number=fraction),
        _span([run.subset_images for run in runs]),
        _span([run.subset_patients for run in runs]),
        *(_span([run.per_class.get(one, 0) for run in runs]) for one in classes),
    )


def _span(numbers: Sequence[int]) -> Cell:
    # A range sorts by its middle.
    return Cell(text=span(numbers), number=(min(numbers) + max(numbers)) / 2)


def pretrain_table(runs: Sequence[Pretrain], labels: Mapping[tuple[str, str], str]) -> Table:
    """Every pre-training run: recipe, images, length, and its last k-NN reading."""
    return Table(
        name="pretraining-runs",
        caption="Pre-training runs; no label was used to train them",
        heads=text_cells("Arm", "Seed", "Recipe", "Images", "Epochs", "Time", "Last k-NN score"),
        rows=tuple(_pretrain_row(run, labels[run.arm, run.backbone]) for run in runs),
        note="In the CSV file times are in seconds.",
    )


def _pretrain_row(run: Pretrain, arm: str) -> tuple[Cell, ...]:
    readings = [one["knn"] for one in run.files.epochs if read(one, "knn", "value") is not None]
    last = _NONE
    if readings:
        value, asked = float(readings[-1]["value"]), readings[-1]
        notes = (f"{metric_name(str(asked.get('metric')))}, {asked.get('task')}",)
        last = Cell(text=score_text(value), number=value, notes=notes)
    size = f"{run.backbone}, {run.parameters / 1e6:.1f} million weights"
    return (
        Cell(text=arm, arm=arm),
        count_cell(run.seed),
        Cell(text=run.recipe or "own settings", notes=(size,)),
        Cell(
            text=f"{run.images:,}",
            number=run.images,
            notes=(f"{run.store.name}, {run.store.size} pixels",),
        ),
        Cell(
            text=f"{run.num_epochs:,}", number=run.num_epochs, notes=(counted(run.steps, "step"),)
        ),
        Cell(text=duration(run.seconds), number=run.seconds, notes=(run.device,)),
        last,
    )


def machines(runs: Sequence[RunFiles]) -> list[Machine]:
    """The environments the runs were made in, each once."""
    same: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if run.environment:
            facts = tuple(_flat({k: v for k, v in run.environment.items() if k != "date"}))
            same.setdefault(facts, []).append(run.name)
    alone = len(same) == 1
    return [
        Machine(
            runs=tuple(names),
            table=Table(
                name="environment" if alone else f"environment-{i + 1}",
                caption=f"Environment of {'all runs' if alone else counted(len(names), 'run')}",
                heads=text_cells("What", "Recorded"),
                rows=tuple(text_cells(*fact) for fact in facts),
            ),
        )
        for i, (facts, names) in enumerate(same.items())
    ]


def _flat(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {inner}", text) for inner, text in _flat(value)]
        elif value is not None:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return rows
