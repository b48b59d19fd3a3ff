"""Which images an evaluation trains on, chooses by and is scored on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.splits import label_subset, labelled_rows, labels_without_both
from medstrata.data.store.store import Store
from medstrata.evaluation.settings import Validation
from medstrata.runtime.console import warn
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.randomness import Stream, permutation

# More change a mean and a deviation by less than a hundredth of a deviation.
_STANDARDISING_IMAGES = 10_000


@dataclass(frozen=True)
class SplitRows:
    """Sample numbers that an evaluation trains on, chooses by, is scored on and standardises by.

    Attributes:
        train: Labelled, of the training split.
        val: Labelled, of validation.
        test: Labelled, of test.
        standardising: Of the training split, labelled or not; see `standardising_rows`. None of
            their labels is read.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    standardising: NDArray[np.int64]

    @property
    def labels(self) -> str:
        """How many labels are used, in words."""
        return f"{len(self.train)} labelled images for training, {len(self.val)} for choosing"


def require_labelled_rows(store: Store, task: Task, split: str) -> NDArray[np.int64]:
    """The `labelled_rows` of a split, which are to be learnt from or scored.

    Raises:
        MedstrataError: they hold fewer than two classes, or both answers to no label of several.
    """
    rows = labelled_rows(store, task, split)
    if not len(rows) or (task.kind != "multilabel" and len(np.unique(task.targets[rows])) < 2):
        raise MedstrataError(
            f"{task.name}: the {split} split holds fewer than two classes; prepare the store "
            "with other splits (--split)"
        )
    if task.kind == "multilabel":
        _check_answers(task, rows, split)
    return rows


def _check_answers(task: Task, rows: NDArray[np.int64], split: str) -> None:
    """Refuse a multi-label task that cannot be scored, and say which labels take no part."""
    lacking = labels_without_both(task, rows)
    if len(lacking) == len(task.classes):
        raise MedstrataError(
            f"{task.name}: no label has both 0 and 1 among the {len(rows)} {split} images; prepare "
            "the store with other splits (--split)"
        )
    if lacking:
        warn(
            f"{task.name}: {', '.join(lacking)} without both 0 and 1 among the {len(rows)} {split} "
            "images: left out of what is scored"
        )


def _say_untrained(task: Task, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Name classes that are tested and that no training image has."""
    answers = task.targets
    if task.kind == "multilabel":
        tested, trained = ((answers[rows] == 1).any(axis=0) for rows in (test, train))
        missing = np.flatnonzero(tested & ~trained)
    else:
        missing = np.setdiff1d(answers[test], answers[train])
    if len(missing):
        names = ", ".join(task.classes[int(one)] for one in missing)
        warn(f"{task.name}: no training image has {names}, test images do: nothing learns it")


def labelled_parts(
    store: Store, task: Task, fraction: float, seed: int, validation: Validation = "full"
) -> SplitRows:
    """The images of an evaluation; its labels are a function of fraction and seed alone.

    Args:
        store: Has splits and patients.
        task: Has the labels.
        fraction: Share of the labelled training images.
        seed: Decides which.
        validation: `same` applies the fraction to the validation images too.

    Raises:
        MedstrataError: the fraction is out of range, or a part lacks a class.
    """
    train = label_subset(task, store, fraction, seed)
    val, test = (require_labelled_rows(store, task, split) for split in ("val", "test"))
    if validation == "same":
        val = label_subset(task, store, fraction, seed, "val")
    _say_untrained(task, train, test)
    return SplitRows(train, val, test, standardising_rows(store))


def standardising_rows(store: Store) -> NDArray[np.int64]:
    """Training images whose features are standardised by, labelled or not, ascending.

    All of them, or of more than 10,000 as many drawn at random.
    """
    rows = store.rows("train")
    if len(rows) > _STANDARDISING_IMAGES:
        order = permutation(len(rows), Stream.STANDARDISING_IMAGES)
        rows = np.sort(rows[order[:_STANDARDISING_IMAGES]])
    return rows
