"""What `prepare` was pointed at: which samples there are, and on demand what is known of them.

Legend: N samples.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.dataset import SPLIT, Dataset, choose_split
from medstrata.data.datasets.registry import find_dataset
from medstrata.data.prepare.annotations import (
    Annotations,
    annotate,
    file_names,
    read_labels,
    rows_table,
)
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.prepare.split_rules import SplitRule, parse_rule
from medstrata.data.sources import (
    Sources,
    evenly_spaced,
    from_folder,
    from_list,
    from_rows,
    with_frames,
)
from medstrata.data.store.store import ColumnKind, LabelColumn
from medstrata.data.tables import describe_column, guess_label_columns, label_values, read_table
from medstrata.runtime.console import warn
from medstrata.runtime.errors import MedstrataError

_OURS = ("file", "frame", "array", "patient_id")  # columns of an index that are no labels

# What an uncertain label is taken for, by the word for it.
_POLICIES: dict[str, str | None] = {"unknown": None, "negative": "0", "positive": "1"}


@dataclass(frozen=True)
class InputTable:
    """The samples, and how to learn what is known of them.

    Attributes:
        sources: The samples.
        rule: How they are split.
        digest: Names what the table says; None without one.
        describe: Joins the table and says what it finds; a row a sample.
    """

    sources: Sources
    rule: SplitRule
    digest: str | None
    describe: Callable[[], Annotations]

    def subset(self, most: int) -> "InputTable":
        """Evenly spaced samples, at most so many."""
        samples = evenly_spaced(len(self.sources), most)
        fewer = replace(
            self.sources,
            file_index=self.sources.file_index[samples],
            frames=self.sources.frames[samples],
        )
        return replace(self, sources=fewer, describe=lambda: self.describe().take(samples))


def find_inputs(source: Path, settings: PrepareSettings, workers: int) -> InputTable:
    """Find the images of a folder, those that a list names, or those of a known data set.

    Args:
        source: Folder, CSV or Parquet list, or where the data set lies.
        settings: What is known of them, and how they are split.
        workers: Threads that count frames.

    Raises:
        MedstrataError: there are no images, a data set is unknown or incomplete, or the split names
            a column and there is no table.
    """
    if settings.dataset is not None:
        return _index(find_dataset(settings.dataset), source, settings)
    if not source.exists():
        raise MedstrataError(f"{source} does not exist; give a folder of images or a list of them")
    if source.suffix.lower() == ".npz":
        raise MedstrataError(
            f"{source} holds arrays: add --dataset npz, or the name of a known set"
        )
    labels = None if settings.labels is None else Path(settings.labels)
    rule = parse_rule(settings.split)
    if source.is_dir():
        files = from_folder(source, follow_links=settings.follow_links)
    else:
        listed = read_table(source)
        root = source.parent.resolve()
        named = file_names(listed, source, settings.file_column, root)
        files = from_list(source, named, follow_links=settings.follow_links)
        labels = labels or source
    sources = with_frames(files, settings.reading, workers)
    if labels is None:
        if rule.column is not None:
            raise MedstrataError(
                f"split {settings.split!r} names a column: give the table with --labels"
            )
        unknown = rows_table(pd.RangeIndex(len(sources)), {}, {}, listed=False)
        return InputTable(sources, rule, None, lambda: Annotations(unknown, {}, []))

    def describe() -> Annotations:
        table = read_table(labels)
        names = file_names(table, labels, settings.file_column, files.root)
        of_files = annotate(files, table, names, labels, settings, rule.column)
        return of_files.take(sources.file_index)

    return InputTable(sources, rule, _file_digest(labels), describe)


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise MedstrataError(f"{path} is missing: give a CSV or Parquet file")
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _index(dataset: Dataset, root: Path, settings: PrepareSettings) -> InputTable:
    """The samples that the split of a known data set uses, and what its index says of them."""
    table = dataset.table(root)
    rule, column = _rule(dataset, table, settings.split)
    if column is not None:
        used = table[column].notna()
        if not used.all():
            warn(f"split {rule.column} leaves out {int((~used).sum())} of {len(table)} images")
        table = table[used].reset_index(drop=True)
    files = table["file"] + "/" + table["array"] if "array" in table else table["file"]
    frames = table["frame"].to_numpy(np.int64) if "frame" in table else np.full(len(table), -1)
    home = root if root.is_dir() else root.parent
    values = _labels(dataset, table, settings)
    columns = {name: _column(dataset, name, values[name]) for name in values}
    known = {"patient_id": table.get("patient_id"), "split": table.get(column)}
    rows = rows_table(table.index, known, values, listed=True)
    decisive = rows[[*(f"label.{name}" for name in values), "patient_id", "split"]]
    digest = hashlib.blake2b(digest_size=16)
    digest.update(pd.util.hash_pandas_object(decisive, index=False).to_numpy().tobytes())
    sources = from_rows(
        home.resolve(), files, frames.astype(np.int64), follow_links=settings.follow_links
    )
    return InputTable(sources, rule, digest.hexdigest(), lambda: Annotations(rows, columns, []))


def _other_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of an index whose meaning is not laid down."""
    columns = [str(name) for name in table.columns]
    return table[[name for name in columns if name not in _OURS and not name.startswith(SPLIT)]]


def _rule(dataset: Dataset, table: pd.DataFrame, split: str | None) -> tuple[SplitRule, str | None]:
    """The rule, and the index's column that it reads."""
    rule = parse_rule(split)
    if split is not None and rule.column is None:
        return rule, None
    column = choose_split(dataset, table, split)
    if column is None:
        return rule, None
    return parse_rule(column.removeprefix(SPLIT)), column


def _labels(
    dataset: Dataset, table: pd.DataFrame, settings: PrepareSettings
) -> dict[str, pd.Series]:
    """Values of the data set's own labels, or of those that this copy seems to have."""
    if dataset.labels:
        return {name: _values(dataset, table[name], settings.uncertain) for name in dataset.labels}
    names = guess_label_columns(_other_columns(table), set(), settings.label_separator)
    return read_labels(table[names], settings.label_separator)


def _values(dataset: Dataset, column: pd.Series, uncertain: str) -> pd.Series:
    if dataset.uncertain is not None:
        column = column.replace(dataset.uncertain, _POLICIES[uncertain] or pd.NA)
    return label_values(column)


def _column(dataset: Dataset, name: str, values: pd.Series) -> LabelColumn:
    if name not in dataset.labels:
        return describe_column(name, values, ordinal=False)
    classes = tuple(dataset.labels[name])
    kind: ColumnKind = "ordinal" if name in dataset.ordinal else "multiclass"
    return LabelColumn("binary" if len(classes) == 2 else kind, classes)
