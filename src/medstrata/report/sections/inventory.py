"""What the runs were made of and on: data, labelled subsets, pre-training runs, machines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medstrata.report.compare.comparison import Comparison, group_by_task
from medstrata.report.read.facts import RunFiles
from medstrata.report.read.results import Finetune, Pretrain, Subset
from medstrata.report.render.formatting import (
    counted,
    duration,
    kind_name,
    listed,
    metric_name,
    patients_named,
    percent,
    span,
)
from medstrata.report.render.parts import Collapsible, DefinitionList, Heading, Part, Text
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_cell,
    count_cell,
    number_cell,
    text_cells,
)
from medstrata.report.sections.curves import read
from medstrata.report.sections.section import Section

_UNKNOWN_PATIENTS = (
    "Unknown for {unknown:,} of {all:,} images: that one of them is in two splits cannot be ruled "
    "out, and intervals count each of these images as a patient of its own, so they are too narrow "
    "where one has several."
)


def data_section(comparisons: Sequence[Comparison[Finetune]]) -> Section:
    """The data and tasks of every comparison, and the labelled images the arms were given."""
    places = group_by_task(comparisons)
    parts: list[Part] = [_data_table(places)]
    for same in places:
        store, task, test = same[0].store, same[0].task, same[0].first.test
        unknown = store.unknown_patients
        of = "" if store.patients is None else f" of {patients_named(store.patients, unknown)}"
        pixels = f"{store.size} × {store.size} pixels, {counted(store.channels, 'channel')}"
        tested = (
            f"{counted(test.images, 'test image')} of "
            f"{patients_named(test.patients, test.unknown_patients)}"
        )
        terms = [
            ("Images", f"{store.images:,}{of}, {pixels}"),
            ("Task", f"{kind_name(task.kind)}: {listed(task.classes)}"),
            ("Judged by", f"{metric_name(same[0].metric)} on {tested}"),
        ]
        if unknown:
            terms.append(("Patients", _UNKNOWN_PATIENTS.format(unknown=unknown, all=store.images)))
        parts += [Heading(same[0].where), DefinitionList(terms), _subset_table(same)]
    return Section(anchor="data", title="Data and tasks", short="Data", parts=parts)


def _data_table(places: Sequence[Sequence[Comparison[Finetune]]]) -> Table:
    """Every split of every data set, with the task it was used for."""
    rows = [row for same in places for row in _split_rows(same)]
    return Table(
        name="data",
        caption="Images, patients and labels of each data set and split",
        heads=text_cells(*rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
        note="Labelled: with a label for the task. Behind each class stands its number of images "
        "where the data audit counted them.",
    )


def _split_rows(same: Sequence[Comparison[Finetune]]) -> Iterator[dict[str, TableCell]]:
    """A row for each split of the store, or one for all its images where splits are not known."""
    store, task = same[0].store, same[0].task
    counts: dict[str, tuple[int, int | None, int, int | None]] = {
        "all": (store.images, store.patients, store.unknown_patients, None)
    }
    if store.splits:
        counts = {
            one: (of.images, of.patients, of.unknown_patients, of.labelled)
            for one, of in store.splits.items()
        }
    channels = counted(store.channels, "channel")
    for split, (images, patients, unknown, labelled) in counts.items():
        yield {
            "Data set": TableCell(store.name),
            "Split": TableCell(split),
            "Images": count_cell(images),
            "Patients": _patients_cell(patients, unknown),
            "Labelled images": count_cell(labelled),
            "Classes": TableCell(_classes(same, split)),
            "Task": TableCell(task.name, notes=(kind_name(task.kind),)),
            "Judged by": TableCell(metric_name(same[0].metric)),
            "Image size": TableCell(f"{store.size} × {store.size}", store.size, notes=(channels,)),
        }


def _classes(same: Sequence[Comparison[Finetune]], split: str) -> str:
    """The classes, each with its images where an audit of the store counted them."""
    task = same[0].task
    for run in (run for comparison in same for run in comparison.every):
        counts = _audited(run.files, task.name, split)
        if set(counts) == set(task.classes):
            return ", ".join(f"{one}: {int(counts[one]):,}" for one in task.classes)
    return ", ".join(task.classes)


def _audited(files: RunFiles, task: str, split: str) -> Mapping[str, Any]:
    counts: Any = files.audit
    for key in ("labels", task, "splits", split, "per_class"):
        counts = counts.get(key) if isinstance(counts, Mapping) else None
    all_counts = isinstance(counts, Mapping) and all(
        isinstance(one, int) for one in counts.values()
    )
    return counts if all_counts else {}


def _subset_table(same: Sequence[Comparison[Finetune]]) -> Table:
    """How many labelled images, of how many patients and of which classes, the arms were given."""
    subsets_at: dict[float, list[Subset]] = {}
    for run in (run for comparison in same for run in comparison.every):
        subsets_at.setdefault(run.fraction, []).append(run.subset)
    labelled = (
        name for subsets in subsets_at.values() for one in subsets for name in one.per_class
    )
    classes = tuple(dict.fromkeys((*same[0].task.classes, *labelled)))
    return Table(
        name=f"{same[0].place}-labelled-subsets",
        caption="Labelled training images the arms were given, a range where seeds differ: "
        + same[0].where,
        heads=text_cells("Share of labels", "Images", "Patients", *classes),
        rows=tuple(
            (
                TableCell(text=percent(fraction), number=fraction),
                _span([one.images for one in subsets]),
                _patients_span(subsets),
                *(_span([one.per_class.get(name, 0) for one in subsets]) for name in classes),
            )
            for fraction, subsets in sorted(subsets_at.items())
        ),
    )


def _patients_cell(patients: int | None, unknown: int) -> TableCell:
    if patients is None or not unknown:
        return count_cell(patients)
    if not patients:
        return TableCell("unknown")
    return count_cell(patients, f"and {counted(unknown, 'image')} of unknown patients")


def _patients_span(subsets: Sequence[Subset]) -> TableCell:
    unknown = max(one.unknown_patients for one in subsets)
    patients = [one.patients for one in subsets]
    return _patients_cell(max(patients), unknown) if unknown else _span(patients)


def _span(numbers: Sequence[int]) -> TableCell:
    # A range sorts by its middle.
    return TableCell(text=span(numbers), number=(min(numbers) + max(numbers)) / 2)


def pretrain_table(runs: Sequence[Pretrain]) -> Table:
    """Every pre-training run: recipe, images, length, and its last k-NN reading; at least one."""
    rows = [_pretrain_row(run) for run in runs]
    return Table(
        name="pretraining-runs",
        caption="Pre-training runs; no label was used to train them",
        heads=text_cells(*rows[0]),
        rows=tuple(tuple(row.values()) for row in rows),
        note="In the CSV file times are in seconds.",
    )


def _pretrain_row(run: Pretrain) -> dict[str, TableCell]:
    scores = [one["knn"] for one in run.files.epochs if read(one, "knn", "value") is not None]
    last = TableCell(text="–")
    if scores:
        last_score = scores[-1]
        judged = f"{metric_name(str(last_score.get('metric')))}, {last_score.get('task')}"
        last = number_cell(float(last_score["value"]), judged)
    size = f"{run.backbone}, {run.parameters / 1e6:.1f} million weights"
    return {
        "Arm": arm_cell(run.label),
        "Seed": count_cell(run.seed),
        "Recipe": TableCell(text=run.recipe or "own settings", notes=(size,)),
        "Images": count_cell(run.images, f"{run.store.name}, {run.store.size} pixels"),
        "Epochs": count_cell(run.epochs, counted(run.steps, "step")),
        "Time": number_cell(run.seconds, run.device, write=duration),
        "Last k-NN score": last,
    }


def environments(runs: Sequence[RunFiles]) -> list[Part]:
    """The environments the runs were made in, each once."""
    same: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if run.environment:
            facts = tuple(_flat({k: v for k, v in run.environment.items() if k != "date"}))
            same.setdefault(facts, []).append(run.name)
    alone = len(same) == 1
    parts: list[Part] = []
    for i, (facts, names) in enumerate(same.items(), 1):
        table = Table(
            name="environment" if alone else f"environment-{i}",
            caption=f"Environment of {'all runs' if alone else counted(len(names), 'run')}",
            heads=text_cells("What", "Recorded"),
            rows=tuple(text_cells(*fact) for fact in facts),
        )
        parts += [Heading("Environment" if alone else f"Environment {i}"), table]
        if not alone:
            parts.append(Collapsible(title="The runs", parts=[Text(", ".join(names), "note")]))
    return parts


def _flat(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {inner}", text) for inner, text in _flat(value)]
        elif value is not None:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return rows
