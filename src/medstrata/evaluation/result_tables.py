"""The tables of an evaluation's run folder, and its words on store, subset and scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.splits import is_labelled
from medstrata.data.store.store import Store
from medstrata.metrics.intervals import bootstrap_interval
from medstrata.runtime.files import replacing


def save_subset(out: Path, store: Store, rows: NDArray[np.int64]) -> None:
    """Write subset.csv: which images were trained on."""
    with replacing(out / "subset.csv") as temporary:
        store.columns("sample_id", "patient_id").loc[rows].to_csv(temporary, index=False)


def known_answers(store: Store, task: Task, rows: NDArray[np.int64], split: str) -> pd.DataFrame:
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


def scored(
    name: str,
    store: Store,
    task: Task,
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    resamples: int,
) -> dict[str, float]:
    """A score with its interval over patients, for result.json."""
    interval = bootstrap_interval(
        name,
        task.targets[rows],
        values,
        task.kind,
        store.patients[rows],
        resamples=resamples,
        seed=0,
    )
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def describe_store(store: Store, task: Task) -> dict[str, Any]:
    """Sizes of a store and its splits, for result.json."""
    splits = {}
    for split in ("train", "val", "test"):
        rows = store.rows(split)
        splits[split] = {
            "images": len(rows),
            "patients": len(np.unique(store.patients[rows])),
            "labelled": int(is_labelled(task.targets[rows]).sum()),
        }
    return {
        "name": store.path.name,
        "images": len(store),
        "patients": len(np.unique(store.patients)),
        "size": store.size,
        "channels": store.channels,
        "splits": splits,
    }


def describe_subset(store: Store, task: Task, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Images, patients and classes of the training subset, for result.json."""
    targets = task.targets[rows]
    if targets.ndim == 2:
        counts = np.nansum(targets, axis=0)
    else:
        counts = np.bincount(targets.astype(np.int64), minlength=len(task.classes))
    return {
        "images": len(rows),
        "patients": len(np.unique(store.patients[rows])),
        "per_class": {name: int(count) for name, count in zip(task.classes, counts, strict=True)},
    }
