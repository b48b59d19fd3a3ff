"""Which images an evaluation trains on, chooses by and is scored on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.splits import label_subset, labelled_rows
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class SplitRows:
    """Sample numbers with a known label: the training subset, validation and test."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def require_labelled_rows(store: Store, task: Task, split: str) -> NDArray[np.int64]:
    """The `labelled_rows` of a split, which are to be learnt from or scored.

    Raises:
        MedstrataError: they hold fewer than two classes.
    """
    rows = labelled_rows(store, task, split)
    if not len(rows) or (task.kind != "multilabel" and len(np.unique(task.targets[rows])) < 2):
        raise MedstrataError(
            f"{task.name}: the {split} split holds fewer than two classes; prepare the store "
            "with other splits (--split)"
        )
    return rows


def labelled_parts(store: Store, task: Task, fraction: float, seed: int) -> SplitRows:
    """The images of an evaluation; the training subset is a function of fraction and seed alone.

    Raises:
        MedstrataError: the fraction is out of range, or a part lacks a class.
    """
    train = label_subset(task, store, fraction, seed)
    val, test = (require_labelled_rows(store, task, split) for split in ("val", "test"))
    return SplitRows(train, val, test)
