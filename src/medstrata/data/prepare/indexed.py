"""The index of a known data set as samples and what is known of them.

Legend: N samples.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.dataset import SPLIT, Dataset, choose_split
from medstrata.data.prepare.annotations import Annotations
from medstrata.data.prepare.split_rules import SplitRule, parse_rule
from medstrata.data.sources import Sources, from_rows
from medstrata.data.store.store import ColumnKind, LabelColumn
from medstrata.data.tables import describe_column, guess_label_columns, label_values
from medstrata.runtime.console import warn
from medstrata.runtime.errors import MedstrataError

_OURS = ("file", "frame", "array", "patient_id")  # columns of an index that are no labels

# What an uncertain label is taken for, by the word for it.
_POLICIES: dict[str, str | None] = {"unknown": None, "negative": "0", "positive": "1"}


def read_index(
    dataset: Dataset, root: Path, split: str | None, uncertain: str
) -> tuple[Sources, Annotations, SplitRule]:
    """Read a data set's index.

    Args:
        dataset: Its facts.
        root: Where it lies.
        split: One of its ready-made splits by name, or a rule as `parse_rule` takes it; None for
            the first ready-made one, else drawn shares.
        uncertain: "unknown", "negative" or "positive": what uncertain labels count as.

    Returns:
        The samples that the split uses, what is known of each, and how to split them.

    Raises:
        MedstrataError: the data set is not complete enough to be indexed, or has no such split.
    """
    table = dataset.index(root)
    rule, column = _rule(dataset, table, split)
    if column is not None:
        used = table[column].notna()
        if not used.all():
            warn(f"split {rule.column} leaves out {int((~used).sum())} of {len(table)} images")
        table = table[used].reset_index(drop=True)
    files = table["file"]
    if "array" in table:
        files = files + "/" + table["array"]
    frames = np.full(len(table), -1, dtype=np.int64)
    if "frame" in table:
        frames = table["frame"].to_numpy(dtype=np.int64)
    home = root if root.is_dir() else root.parent
    sources = from_rows(home.resolve(), files, frames)
    nothing = pd.Series(pd.NA, index=table.index, dtype="string")
    labels = list(dataset.labels) or guess_label_columns(_unspoken(table), set())
    values = {name: _values(dataset, table[name], uncertain) for name in labels}
    known = Annotations(
        patients=table.get("patient_id", nothing),
        sites=nothing,
        labels=pd.DataFrame(values, index=table.index),
        columns={name: _column(dataset, name, values[name]) for name in labels},
        listed=np.ones(len(table), dtype=bool),
        split_values=None if column is None else table[column],
        unmatched=[],
    )
    return sources, known, rule


def _unspoken(table: pd.DataFrame) -> pd.DataFrame:
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


def _values(dataset: Dataset, column: pd.Series, uncertain: str) -> pd.Series:
    if uncertain not in _POLICIES:
        raise MedstrataError(f"uncertain {uncertain!r} must be one of {', '.join(_POLICIES)}")
    if dataset.uncertain is not None:
        column = column.replace(dataset.uncertain, _POLICIES[uncertain] or pd.NA)
    return label_values(column)


def _column(dataset: Dataset, name: str, values: pd.Series) -> LabelColumn:
    if name not in dataset.labels:
        return describe_column(name, values, ordinal=False)
    classes = tuple(dataset.labels[name])
    kind: ColumnKind = "ordinal" if name in dataset.ordinal else "multiclass"
    return LabelColumn("binary" if len(classes) == 2 else kind, classes)
