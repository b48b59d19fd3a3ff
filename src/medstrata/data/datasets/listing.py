"""The lines that `medstrata datasets` prints."""

import textwrap
from collections.abc import Iterable, Sequence

from medstrata.data.datasets.check import Discrepancy
from medstrata.data.datasets.dataset import Dataset


def listing(datasets: Iterable[Dataset]) -> str:
    """A line a data set: images, patients, ready-made splits, licence."""
    rows = [("name", "images", "patients", "splits", "licence")]
    rows += [
        (
            dataset.name,
            _count(dataset.images, "any"),
            _count(dataset.patients, "-"),
            ", ".join(dataset.splits) or "-",
            dataset.licence.partition(":")[0].partition(";")[0],
        )
        for dataset in datasets
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {images:>{widths[1]}}  {patients:>{widths[2]}}  "
        f"{splits:<{widths[3]}}  {licence}"
        for name, images, patients, splits, licence in rows
    ]
    return "\n".join(lines) + "\n"


def description(dataset: Dataset) -> str:
    """All that is known of a data set, and the commands to type."""
    facts = {
        "images": dataset.modality,
        "count": f"{_count(dataset.images, 'any')} images of {_patients(dataset)}",
        "labels": _labels(dataset),
        "splits": ", ".join(dataset.splits) or "none ready; drawn by patient, or by image",
        "licence": dataset.licence,
        "cite": dataset.citation,
        "from": dataset.url,
        "note": dataset.note,
    }
    lines = [f"{dataset.name}: {dataset.title}", ""]
    for name, text in facts.items():
        if text:
            lines += textwrap.wrap(
                text, 100, initial_indent=f"{name:<9}", subsequent_indent=" " * 9,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    lines += [f"split {split} needs {files}" for split, files in dataset.split_files.items()]
    split = f" [--split {dataset.splits[-1]}]" if len(dataset.splits) > 1 else ""
    lines += [
        *("", "layout of ROOT:", textwrap.indent(dataset.layout, "  "), ""),
        f"medstrata datasets check {dataset.name} ROOT",
        f"medstrata prepare ROOT --dataset {dataset.name}{split} --out STORE",
        f"medstrata finetune RUN STORE --task {_quoted(dataset.task)} --fraction 0.01 --out RUN2",
    ]
    return "\n".join(lines) + "\n"


def report(dataset: Dataset, findings: Sequence[Discrepancy]) -> str:
    """A line a finding, what is wrong before what is not, and a summary."""
    wrong = [f"{finding.kind}: {finding.text}" for finding in findings if finding.kind != "note"]
    notes = [f"note: {finding.text}" for finding in findings if finding.kind == "note"]
    summary = f"{dataset.name} is complete"
    if wrong:
        summary = f"{dataset.name}: {len(wrong)} findings of something missing or wrong"
        if len(wrong) == 1:
            summary = f"{dataset.name}: one finding of something missing or wrong"
    return "\n".join([*wrong, *notes, summary]) + "\n"


def _count(number: int | None, unknown: str) -> str:
    return unknown if number is None else f"{number:,}"


def _patients(dataset: Dataset) -> str:
    optional = ""
    if dataset.optional_images:
        optional = f", and {dataset.optional_images:,} more in an optional part"
    if dataset.patients is None:
        return f"patients that are not known{optional}"
    return f"{dataset.patients:,} patients{optional}"


def _labels(dataset: Dataset) -> str:
    if not dataset.labels:
        return "as the copy has them"
    binary = [name for name, values in dataset.labels.items() if values == ("0", "1")]
    texts = [
        f"{name} ({', '.join(values)}{', ascending' if name in dataset.ordinal else ''})"
        for name, values in dataset.labels.items()
        if name not in binary
    ]
    if binary:
        uncertain = f", or {dataset.uncertain} uncertain" if dataset.uncertain else ""
        texts.append(f"0 or 1{uncertain}: {', '.join(binary)}")
    return "; ".join(texts)


def _quoted(task: str) -> str:
    return f"'{task}'" if " " in task else task
