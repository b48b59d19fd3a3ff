"""Tasks: label columns of a store as targets to learn.

Legend: N samples, L labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.store.store import Store
from medstrata.metrics.kinds import TaskKind
from medstrata.runtime.errors import MedstrataError

_UNCERTAIN = "-1"  # as CheXpert writes it


@dataclass(frozen=True)
class Task:
    """What to predict, with the known answers.

    Attributes:
        name: As the user wrote it.
        kind: Decides loss and metrics.
        classes: Of a binary task the second is positive; of an ordinal one they ascend; of a
            multi-label one these are the L labels.
        targets: For every row of the store. Class numbers (N,), int64, -1 unknown; multi-label
            0 or 1, shape (N, L), float32, NaN unknown.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...]
    targets: NDArray[np.int64] | NDArray[np.float32]


def make_task(store: Store, spec: str, kind: TaskKind | None = None) -> Task:
    """Make a task of a store's label columns.

    Args:
        store: Holds the labels.
        spec: A column, as "subtype"; values of a column in their order, as "subtype: bacteria vs
            virus" or "label: benign vs gleason3+gleason4", where other values count as unknown; or
            several 0/1 columns, as "Edema,Effusion", where -1 (uncertain) counts as unknown.
        kind: Overrides what the column says; several columns are always multi-label.

    Returns:
        The task.

    Raises:
        MedstrataError: a column or value is not there (the line lists those that are), or the
            kind does not fit.
        ValueError: there is no such kind.
    """
    if kind is not None and kind not in get_args(TaskKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(TaskKind))}, got {kind!r}")
    columns = store.label_columns
    if not columns:
        raise MedstrataError(
            f"{store.location} has no labels: prepare it again with --labels and --overwrite"
        )
    if spec not in columns:
        name, colon, groups = spec.rpartition(":")
        if colon and name.strip() in columns:
            return _grouped(store, spec, name.strip(), groups, kind)
        if "," in spec and not colon:
            return _several(store, spec, [name.strip() for name in spec.split(",")], kind)
    _check_columns(store, [spec])
    if kind == "multilabel":
        return _several(store, spec, [spec], kind)
    column = columns[spec]
    return _task(store, spec, spec, [[name] for name in column.classes], kind or column.kind)


def _grouped(store: Store, spec: str, column: str, text: str, kind: TaskKind | None) -> Task:
    described = store.label_columns[column]
    groups = [[value.strip() for value in group.split("+")] for group in text.split(" vs ")]
    values = [value for group in groups for value in group]
    unknown = [value for value in values if value not in described.classes]
    if unknown:
        raise MedstrataError(
            f"task {spec!r}: column {column} has no value {_listed(unknown)}; "
            f"it has {_listed(described.classes)}"
        )
    if len(groups) < 2 or len(set(values)) < len(values):
        raise MedstrataError(
            f"task {spec!r}: name two or more groups and each value once, as "
            f"'{column}: {' vs '.join(described.classes[:2])}'"
        )
    if kind is None:
        ordered: TaskKind = "ordinal" if described.kind == "ordinal" else "multiclass"
        kind = "binary" if len(groups) == 2 else ordered
    return _task(store, spec, column, groups, kind)


def _task(store: Store, spec: str, column: str, groups: list[list[str]], kind: TaskKind) -> Task:
    if kind == "multilabel":
        raise MedstrataError(f"task {spec!r}: multilabel takes 0/1 columns, as 'Edema,Effusion'")
    if kind == "binary" and len(groups) != 2:
        raise MedstrataError(
            f"task {spec!r} has {len(groups)} classes: for a binary task name two groups, as "
            f"'{column}: {groups[0][0]} vs {'+'.join(group[0] for group in groups[1:])}'"
        )
    number = {value: place for place, group in enumerate(groups) for value in group}
    targets = _text(store, column).map(number).astype("Int64").fillna(-1).to_numpy(dtype=np.int64)
    classes = tuple("+".join(group) for group in groups)
    return Task(spec, kind, classes, np.asarray(targets, dtype=np.int64))


def _several(store: Store, spec: str, names: list[str], kind: TaskKind | None) -> Task:
    _check_columns(store, names)
    if kind not in (None, "multilabel"):
        raise MedstrataError(
            f"task {spec!r} has several columns: its kind is multilabel, not {kind}"
        )
    for name in names:
        classes = store.label_columns[name].classes
        if not {"0", "1"} <= set(classes) <= {"0", "1", _UNCERTAIN}:
            raise MedstrataError(
                f"task {spec!r}: a multilabel column holds 0 and 1, {name} holds {_listed(classes)}"
            )
    answers = [_text(store, name).map({"0": 0.0, "1": 1.0}) for name in names]
    targets = np.stack([answer.to_numpy(np.float32, na_value=np.nan) for answer in answers], axis=1)
    return Task(spec, "multilabel", tuple(names), targets)


def _text(store: Store, column: str) -> pd.Series:
    return store.columns(f"label.{column}").iloc[:, 0].astype("string")


def _check_columns(store: Store, names: list[str]) -> None:
    unknown = [name for name in names if name not in store.label_columns]
    if unknown:
        raise MedstrataError(
            f"{store.location} has no label column {_listed(unknown)}; it has "
            f"{_listed(store.label_columns)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
