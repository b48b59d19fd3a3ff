"""Whether a copy of a known data set is whole: counts, values, files, checksums, patients."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from medstrata.data.datasets.columns import walk_files
from medstrata.data.datasets.dataset import SPLIT, Dataset
from medstrata.data.sources import READABLE
from medstrata.data.splits import patients_in_several_splits
from medstrata.runtime.console import progress_bar, say
from medstrata.runtime.errors import MedstrataError, first_few

DiscrepancyKind = Literal["table", "count", "label", "file", "checksum", "patient", "note"]
_BLOCK = 2**22  # bytes hashed at a time


@dataclass(frozen=True)
class Discrepancy:
    """One thing found.

    Attributes:
        kind: table, count, label, file, checksum or patient for what is missing or wrong; note for
            what is not.
        text: What, in a line.
    """

    kind: DiscrepancyKind
    text: str


def check(dataset: Dataset, root: Path) -> list[Discrepancy]:
    """Compare a copy of a data set with what is known of it; no image is opened.

    Args:
        dataset: What is known.
        root: As `dataset.table` takes it.

    Returns:
        Findings in order of their kinds; none if the copy is whole.
    """
    try:
        table = dataset.table(root)
    except MedstrataError as error:
        return [Discrepancy("table", str(error))]
    say(f"{len(table)} images are listed; looking for their files in {root}")
    folder = root if root.is_dir() else root.parent
    return [
        *_counts(dataset, table),
        *_labels(dataset, table),
        *_files(table, folder),
        *_checksums(dataset, table, folder),
        *_patients(table),
        *_absent_splits(dataset, table),
    ]


def _counts(dataset: Dataset, table: pd.DataFrame) -> Iterator[Discrepancy]:
    patients = table["patient_id"].nunique() if "patient_id" in table else None
    wanted = (
        ("images", len(table), dataset.images, dataset.optional_images),
        ("patients", patients, dataset.patients, dataset.optional_patients),
    )
    for what, count, published, optional in wanted:
        if published is None or count in (published, published + optional):
            continue
        also = f", or {published + optional:,} with the optional part" if optional else ""
        yield Discrepancy(
            "count", f"{count or 0:,} {what} are listed, {published:,} are known{also}"
        )
    for split, sizes in dataset.split_sizes.items():
        if SPLIT + split not in table:
            continue
        counts = table[SPLIT + split].value_counts()
        for part, published in sizes.items():
            count = int(counts.get(part, 0))
            if count != published:
                text = f"split {split}: {part} has {count:,} images, {published:,} are known"
                yield Discrepancy("count", text)


def _labels(dataset: Dataset, table: pd.DataFrame) -> Iterator[Discrepancy]:
    for name, values in dataset.labels.items():
        if name not in table:
            yield Discrepancy("label", f"label {name} is missing")
            continue
        counts = table[name].value_counts()
        allowed = {*values, dataset.uncertain}
        for value, count in counts[~counts.index.isin(allowed)].items():
            yield Discrepancy(
                "label", f"label {name} has {count:,} times the unknown value {value!r}"
            )
        absent = [value for value in values if value not in counts.index]
        if absent:
            yield Discrepancy("count", f"label {name}: no image has {first_few(absent)}")


def _files(table: pd.DataFrame, folder: Path) -> Iterator[Discrepancy]:
    listed = pd.Index(table["file"].unique())
    found = ((name, folder / name) for name in walk_files(folder, follow_links=True))
    sizes = pd.Series(
        {name: path.stat().st_size for name, path in found if path.is_file()}, dtype="int64"
    )
    missing = listed.difference(sizes.index)
    if len(missing):
        yield Discrepancy(
            "file", f"{len(missing):,} listed files are missing: {first_few(missing)}"
        )
    here = sizes[sizes.index.isin(listed)]
    empty = here.index[here == 0]
    if len(empty):
        yield Discrepancy("file", f"{len(empty):,} files are empty: {first_few(empty)}")
    images = sizes.index[sizes.index.str.lower().str.endswith(READABLE)]
    unlisted = images.difference(listed)
    if len(unlisted):
        yield Discrepancy("note", f"{len(unlisted):,} images are not listed: {first_few(unlisted)}")


def _checksums(dataset: Dataset, table: pd.DataFrame, folder: Path) -> Iterator[Discrepancy]:
    # Files beside those in use are looked at only if they are packed forms of them.
    used = set(table["file"])
    names = [
        name
        for name in dataset.checksums
        if (name in used or name.removesuffix(".gz") != name) and (folder / name).is_file()
    ]
    total = sum((folder / name).stat().st_size for name in names)
    with progress_bar() as bar:
        task = bar.add_task("checksums (MiB)", total=total >> 20)
        for name in names:
            method, _, published = dataset.checksums[name].partition(":")
            digest = hashlib.new(method, usedforsecurity=False)
            with (folder / name).open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    bar.advance(task, len(block) / 2**20)
            if digest.hexdigest() != published:
                text = f"{name} has {method} {digest.hexdigest()}, published is {published}"
                yield Discrepancy("checksum", text)


def _patients(table: pd.DataFrame) -> Iterator[Discrepancy]:
    if "patient_id" not in table:
        return
    for column in table.columns[table.columns.str.startswith(SPLIT)]:
        torn = patients_in_several_splits(table["patient_id"], table[column])
        if torn:
            name = column.removeprefix(SPLIT)
            text = f"split {name} has {len(torn):,} patients in two parts: {first_few(torn)}"
            yield Discrepancy("patient", text)


def _absent_splits(dataset: Dataset, table: pd.DataFrame) -> Iterator[Discrepancy]:
    for split in dataset.splits:
        if SPLIT + split not in table:
            yield Discrepancy(
                "note", f"split {split} is not ready: needs {dataset.split_files[split]}"
            )
