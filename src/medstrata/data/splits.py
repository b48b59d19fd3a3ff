"""Train, val and test by patient, and nested fractions of the labels.

Legend: N samples.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medstrata.data.labels import Task
from medstrata.data.store.store import SPLITS, Store
from medstrata.metrics.kinds import TaskKind
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.randomness import Stream, permutation

# What splits are called in tables and folders.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def assign_splits(
    patient_ids: ArrayLike,
    strata: ArrayLike | None,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> NDArray[np.str_]:
    """Divide samples into train, val and test, all samples of a patient together.

    Patients are sorted by stratum, in random order within each, and each goes to the split that is
    furthest behind its share by then. So every stratum and the whole have the shares asked for, up
    to about one patient.

    Args:
        patient_ids: Shape (N,).
        strata: Class numbers (N,), -1 unknown; a patient belongs to the rarest of its classes.
            None for one stratum.
        fractions: Shares of train, val and test among the images; 0 or more, sum 1.
        seed: Any integer; another gives another division.

    Returns:
        "train", "val" or "test", shape (N,).

    Raises:
        MedstrataError: the fractions are not three shares with sum 1.
    """
    check_fractions(fractions)
    shares = np.asarray(fractions, dtype=np.float64)
    patient, images = _patients(patient_ids)
    targets = np.zeros(len(patient), np.int64) if strata is None else np.asarray(strata)
    _, _, order = stratify(targets, patient, Stream.SPLIT, seed)
    chosen = np.empty(len(images), dtype=np.int64)
    behind = np.zeros(3)
    for each in order:
        # The choice looks at the past alone, so large patients are in no split more often.
        split = int(np.argmax(behind + 1e-9 * shares))
        behind += shares * images[each]
        behind[split] -= images[each]
        chosen[each] = split
    return np.asarray(SPLITS)[chosen[patient]]


def check_fractions(fractions: Sequence[float]) -> None:
    """Check shares of train, val and test.

    Raises:
        MedstrataError: they are not three, some are negative, train is 0 or the sum is not 1.
    """
    sound = len(fractions) == 3 and min(fractions) >= 0 and fractions[0] > 0
    if not sound or abs(sum(fractions) - 1) > 1e-6:
        raise MedstrataError(
            f"split shares {'/'.join(map(str, fractions))} must be three, for train, val and test, "
            "with sum 1, such as 0.7/0.1/0.2"
        )


def stratify(
    targets: NDArray[np.int64] | NDArray[np.float32],
    patient: NDArray[np.int64],
    stream: Stream,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Put P patients in order by the rarest class that each has, at random within a class.

    Args:
        targets: As `Task.targets`, shape (N,) or (N, L).
        patient: Number of each sample's patient, 0 to P - 1, shape (N,).
        stream: What the order is drawn for.
        seed: Any integer.

    Returns:
        Stratum of each patient, its class with fewest samples, or one more than all if it has
        none; the patients in random order; and the same sorted by stratum: shape (P,) each.
    """
    holds = _holds(targets)
    rank = np.argsort(np.argsort(holds.sum(axis=0), kind="stable"), kind="stable")
    none = holds.shape[1]
    stratum = np.full(int(patient.max(initial=-1)) + 1, none, dtype=np.int64)
    np.minimum.at(stratum, patient, np.where(holds, rank, none).min(axis=1, initial=none))
    shuffled = permutation(len(stratum), stream, seed)
    return stratum, shuffled, shuffled[np.argsort(stratum[shuffled], kind="stable")]


def torn_patients(patient_ids: pd.Series, split: pd.Series) -> list[str]:
    """Patients whose samples are in two splits, in order of appearance; null is no split.

    Args:
        patient_ids: Shape (N,).
        split: Split of each sample, shape (N,).
    """
    pairs = pd.DataFrame({"patient": patient_ids.to_numpy(), "split": split.to_numpy()})
    pairs = pairs.dropna().drop_duplicates()
    return list(pairs.loc[pairs["patient"].duplicated(), "patient"].unique())


def label_order(
    task_targets: NDArray[np.int64] | NDArray[np.float32],
    kind: TaskKind,
    patient_ids: ArrayLike,
    rows: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float64]:
    """Positions whose lower ends are nested, stratified, patient-aware subsets.

    A patient's stratum is the rarest class that it has, so that a rare class is not left to
    chance. The patients of each stratum stand in random order, and a patient's position is the
    share of the stratum's images up to and including its own. So the subset at a fraction holds at
    most that share of each stratum; only the first patient of each, and of each class that would
    else be missing, is in all subsets.

    Args:
        task_targets: As `Task.targets`, for all N samples.
        kind: As `Task.kind`.
        patient_ids: Shape (N,).
        rows: Labelled samples to order, shape (R,).
        seed: Any integer; another gives another order.

    Returns:
        Shape (R,), above 0 to 1; the samples with a position of at most f are the subset at f.
    """
    assert (task_targets.ndim == 2) == (kind == "multilabel")
    patient, images = _patients(np.asarray(patient_ids)[rows])
    targets = task_targets[rows]
    stratum, shuffled, order = stratify(targets, patient, Stream.LABEL_FRACTION, seed)
    total = pd.Series(images[order]).groupby(stratum[order])
    position = np.empty(len(images))
    position[order] = total.cumsum() / total.transform("sum")
    always = order[np.unique(stratum[order], return_index=True)[1]].tolist()
    for column in _holds(targets).T:
        holders = np.unique(patient[column])
        if len(holders) and not np.isin(holders, always).any():
            always.append(shuffled[np.isin(shuffled, holders)][0])
    position[always] = np.finfo(np.float64).tiny
    return position[patient]


def label_subset(task: Task, store: Store, fraction: float, seed: int) -> NDArray[np.int64]:
    """Labelled training samples that stand for having only a fraction of the labels.

    Args:
        task: Has the labels.
        store: Has train split and patients.
        fraction: Share of the labelled training images, above 0 to 1. Patients are whole and every
            class is kept, so a very small fraction gives a few images more than asked for.
        seed: Subsets of one seed are nested: a smaller fraction's lies in a larger one's.

    Returns:
        Sample numbers, ascending.

    Raises:
        MedstrataError: the fraction is out of range, or fewer than two classes are left.
    """
    if not 0 < fraction <= 1:
        raise MedstrataError(f"fraction must be above 0 and at most 1, got {fraction}")
    rows = labelled_rows(store, task, "train")
    position = label_order(task.targets, task.kind, store.patients, rows, seed)
    rows = rows[position <= fraction]
    _check_classes(task, rows, fraction)
    return rows


def labelled_rows(store: Store, task: Task, split: str) -> NDArray[np.int64]:
    """Samples of a split with a label, at least one of several; ascending, (N,), perhaps none."""
    rows = store.rows(split)
    targets = task.targets[rows]
    return rows[targets >= 0 if targets.ndim == 1 else ~np.isnan(targets).all(axis=1)]


def _check_classes(task: Task, rows: NDArray[np.int64], fraction: float) -> None:
    targets = task.targets[rows]
    if task.kind == "multilabel":
        both = (targets == 0).any(axis=0) & (targets == 1).any(axis=0)
        lacking = [name for name, has in zip(task.classes, both, strict=True) if not has]
        if len(lacking) == len(task.classes):
            raise MedstrataError(
                f"{task.name}: at fraction {fraction:g} of the training labels no label has both "
                "0 and 1; take a larger fraction"
            )
        return
    present = np.unique(targets)
    if len(present) < 2:
        only = f"only class {task.classes[present[0]]!r} is" if len(present) else "no class is"
        raise MedstrataError(
            f"{task.name}: {only} among the {len(rows)} labelled training images at fraction "
            f"{fraction:g}; two are needed: check the labels and the split"
        )


def _patients(patient_ids: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each sample's patient, in order of first appearance, and images of each patient."""
    patient, _ = pd.factorize(np.asarray(patient_ids))
    return patient.astype(np.int64), np.bincount(patient)


def _holds(targets: NDArray[np.int64] | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each sample has each class (or label): shape (N, classes)."""
    if targets.ndim == 2:
        return np.asarray(targets == 1, dtype=np.bool_)
    classes = np.arange(targets.max(initial=-1) + 1)
    return np.asarray(targets[:, None] == classes, dtype=np.bool_)
