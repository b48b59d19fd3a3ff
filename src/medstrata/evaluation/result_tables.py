"""The tables of an evaluation's run folder, and its words on store, subset and scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.patients import PatientCount
from medstrata.data.splits import labelled_rows
from medstrata.data.store.store import Store
from medstrata.evaluation.rows import SplitRows
from medstrata.metrics.intervals import Interval, bootstrap_interval
from medstrata.runtime.files import atomic_file, write_text
from medstrata.runtime.harmless import csv_lines


def save_subset(out: Path, store: Store, rows: NDArray[np.int64]) -> None:
    """Write subset.csv: which images were trained on."""
    frame = store.columns("sample_id", "patient_id").loc[rows]
    write_text(out / "subset.csv", csv_lines([frame.columns, *frame.itertuples(index=False)]))


def _ids_and_targets(store: Store, task: Task, rows: NDArray[np.int64], split: str) -> pd.DataFrame:
    """The columns that predictions begin with: ids, split and targets, a row for each image."""
    frame = store.columns("sample_id", "patient_id").loc[rows].reset_index(drop=True)
    frame["split"] = split
    targets = task.targets[rows]
    if targets.ndim == 1:
        frame["target"] = targets
    else:
        for column, name in enumerate(task.classes):
            frame[f"target.{name}"] = targets[:, column]
    return frame


def predicted_classes(task: Task) -> tuple[str, ...]:
    """The classes that have a column of probability: of a binary task, the second."""
    return task.classes[1:] if task.kind == "binary" else task.classes


def save_predictions(
    out: Path,
    store: Store,
    task: Task,
    splits: Mapping[str, tuple[NDArray[np.int64], Mapping[str, NDArray[np.float32]]]],
) -> None:
    """Write predictions.parquet: a row an image, a column `<output>.<class>` a probability.

    Args:
        out: The run folder.
        store: Has the images.
        task: Has their labels.
        splits: Split -> its samples, (N,), and what columns begin with -> probabilities of
            `predicted_classes`, (N, L).
    """
    frames = []
    for split, (rows, outputs) in splits.items():
        columns = {
            f"{output}.{name}": values[:, column]
            for output, values in outputs.items()
            for column, name in enumerate(predicted_classes(task))
        }
        frames.append(_ids_and_targets(store, task, rows, split).assign(**columns))
    with atomic_file(out / "predictions.parquet") as temporary:
        pd.concat(frames, ignore_index=True).to_parquet(temporary, index=False)


def score_with_interval(
    name: str,
    store: Store,
    task: Task,
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    resamples: int,
) -> dict[str, float]:
    """A score with its interval over patients, for result.json.

    Args:
        name: Of the metric.
        store: Has the patients.
        task: Has the targets.
        rows: Sample numbers of the scored images, shape (N,).
        values: Their probabilities, shape (N, L).
        resamples: How often patients are drawn anew.

    Returns:
        `value`, `low` and `high`.
    """
    targets, patients = task.targets[rows], store.patients[rows]
    return interval_fields(
        bootstrap_interval(name, targets, values, task.kind, patients, resamples=resamples, seed=0)
    )


def interval_fields(interval: Interval) -> dict[str, float]:
    """A score and its interval, for result.json."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def count_images(store: Store, rows: NDArray[np.int64]) -> dict[str, int]:
    """How many images there are, of how many patients, for result.json."""
    return PatientCount.of(store.patient_ids[rows]).facts


def describe_labels(store: Store, parts: SplitRows) -> dict[str, dict[str, int]]:
    """How many labels were used, to train, to choose and in all, for result.json."""
    every = np.concatenate([parts.train, parts.val])
    rows = {"train": parts.train, "val": parts.val, "all": every}
    return {name: count_images(store, some) for name, some in rows.items()}


def describe_store(store: Store, task: Task) -> dict[str, Any]:
    """Sizes of a store and its splits, for result.json."""
    splits = {}
    for split in ("train", "val", "test"):
        labelled = len(labelled_rows(store, task, split))
        splits[split] = {**count_images(store, store.rows(split)), "labelled": labelled}
    return {
        "name": store.path.name,
        **count_images(store, store.rows()),
        "size": store.size,
        "channels": store.channels,
        "splits": splits,
    }


def describe_subset(store: Store, task: Task, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Images, patients and classes of the training subset, for result.json."""
    targets = task.targets[rows]
    if targets.ndim == 2:
        sums = np.nansum(targets, axis=0)
    else:
        sums = np.bincount(targets.astype(np.int64), minlength=len(task.classes))
    per_class = dict(zip(task.classes, map(int, sums), strict=True))
    return {**count_images(store, rows), "per_class": per_class}
