"""Train, val and test by patient, and nested fractions of the labels.

Legend: N samples.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medstrata.data.labels import Task
from medstrata.data.store.store import SPLITS, Store
from medstrata.metrics.kinds import TaskKind
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.randomness import Stream, hash_texts, uniforms

# What splits are called in tables and folders.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LABELS_OF = {"train": "training", "val": "validation"}


def assign_splits(
    patient_ids: ArrayLike,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> NDArray[np.str_]:
    """Divide samples into train, val and test, all samples of a patient together.

    Where a patient goes is a function of seed and id: a number drawn for the two falls into one of
    the shares. So samples that are added, left out or put in another order move no other patient,
    and the shares hold on average, not exactly.

    Args:
        patient_ids: Shape (N,).
        fractions: Shares of train, val and test among the patients; 0 or more, sum 1.
        seed: Any integer; another gives another division.
        groups: What must stay together beyond patients, equal numbers or names, shape (N,): the
            patient whose id has the lowest hash decides for all of its group, so that only a new
            link between patients can move one. None for nothing.

    Returns:
        "train", "val" or "test", shape (N,).

    Raises:
        MedstrataError: the fractions are not three shares with sum 1.
    """
    check_fractions(fractions)
    patient, _, hashes = _patients(patient_ids)
    deciding = hashes[patient]
    if groups is not None:
        deciding = pd.Series(deciding).groupby(np.asarray(groups)).transform("min").to_numpy()
    drawn = uniforms(1, Stream.SPLIT, seed, deciding)[:, 0]
    ends = np.cumsum(np.asarray(fractions, dtype=np.float64))
    return np.asarray(SPLITS)[np.searchsorted(ends[:2] / ends[2], drawn, side="right")]


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


def rarest_classes(
    targets: NDArray[np.int64] | NDArray[np.float32], patient: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The stratum of each of P patients: which of its classes has the fewest samples of all.

    Args:
        targets: As `Task.targets`, shape (N,) or (N, L).
        patient: Number of each sample's patient, 0 to P - 1, shape (N,).

    Returns:
        Rank of the class, 0 the rarest; for a patient that has none, one more than all others.
        Shape (P,).
    """
    holds = _holds(targets)
    rank = np.argsort(np.argsort(holds.sum(axis=0), kind="stable"), kind="stable")
    none = holds.shape[1]
    stratum = np.full(int(patient.max(initial=-1)) + 1, none, dtype=np.int64)
    np.minimum.at(stratum, patient, np.where(holds, rank, none).min(axis=1, initial=none))
    return stratum


def patients_in_several_splits(patient_ids: pd.Series, split: pd.Series) -> list[str]:
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
    chance. Within a stratum patients stand in the order of a number drawn for seed and id, which
    no other patient changes; the strata are merged so that every beginning holds equal shares of
    them. A patient's position is the share of all images at the middle of its own: the subset at a
    fraction is the beginning whose size is nearest to that share, up to half a patient. The first
    patient of each stratum, and of each class that would else be missing, is in all subsets.

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
    patient, images, hashes = _patients(np.asarray(patient_ids)[rows])
    targets = task_targets[rows]
    stratum = rarest_classes(targets, patient)
    drawn = uniforms(1, Stream.LABEL_FRACTION, seed, hashes)[:, 0]
    order = np.lexsort((drawn, stratum))
    always = order[np.unique(stratum[order], return_index=True)[1]].tolist()
    for column in _holds(targets).T:
        holders = np.unique(patient[column])
        if len(holders) and not np.isin(holders, always).any():
            always.append(holders[np.argmin(drawn[holders])])
    by_stratum = pd.Series(images[order]).groupby(stratum[order])
    within = np.empty(len(images))
    within[order] = by_stratum.transform(_middles)
    within[always] = 0
    merged = np.lexsort((drawn, within))
    position = np.empty(len(images))
    position[merged] = _middles(pd.Series(images[merged]))
    position[always] = np.finfo(np.float64).tiny
    return position[patient]


def _middles(images: pd.Series) -> pd.Series:
    """The share of all images up to the middle of each patient's, in their order."""
    middles: pd.Series = (images.cumsum() - images / 2) / images.sum()
    return middles


def label_subset(
    task: Task, store: Store, fraction: float, seed: int, split: str = "train"
) -> NDArray[np.int64]:
    """Labelled samples of a split that stand for having only a fraction of the labels.

    Args:
        task: Has the labels.
        store: Has splits and patients.
        fraction: Share of the split's labelled images, above 0 to 1. Patients are whole and every
            class is kept, so a very small fraction gives a few images more than asked for.
        seed: Subsets of one seed are nested: a smaller fraction's lies in a larger one's.
        split: "train", or "val" where labels to choose by are few too.

    Returns:
        Sample numbers, ascending.

    Raises:
        MedstrataError: the fraction is out of range, or fewer than two classes are left.
    """
    return label_subsets(task, store, seed, split)(fraction)


def label_subsets(
    task: Task, store: Store, seed: int, split: str = "train"
) -> Callable[[float], NDArray[np.int64]]:
    """What gives `label_subset` for one fraction after another, from one order of the samples."""
    rows = labelled_rows(store, task, split)
    position = label_order(task.targets, task.kind, store.patient_ids, rows, seed)

    def subset(fraction: float) -> NDArray[np.int64]:
        if not 0 < fraction <= 1:
            raise MedstrataError(f"fraction must be above 0 and at most 1, got {fraction}")
        taken = rows[position <= fraction]
        _check_classes(task, taken, fraction, _LABELS_OF[split])
        return taken

    return subset


def labelled_rows(store: Store, task: Task, split: str) -> NDArray[np.int64]:
    """Samples of a split with a label, at least one of several; ascending, (N,), perhaps none."""
    rows = store.rows(split)
    targets = task.targets[rows]
    return rows[targets >= 0 if targets.ndim == 1 else ~np.isnan(targets).all(axis=1)]


def labels_without_both(task: Task, rows: NDArray[np.int64]) -> list[str]:
    """Of a multi-label task, the labels that are not both 0 and 1 among some samples."""
    answers = task.targets[rows]
    both = (answers == 0).any(axis=0) & (answers == 1).any(axis=0)
    return [name for name, has in zip(task.classes, both, strict=True) if not has]


def _check_classes(task: Task, rows: NDArray[np.int64], fraction: float, labels: str) -> None:
    if task.kind == "multilabel":
        if len(labels_without_both(task, rows)) == len(task.classes):
            raise MedstrataError(
                f"{task.name}: at fraction {fraction:g} of the {labels} labels no label has both "
                "0 and 1; take a larger fraction"
            )
        return
    present = np.unique(task.targets[rows])
    if len(present) < 2:
        only = f"only class {task.classes[present[0]]!r} is" if len(present) else "no class is"
        raise MedstrataError(
            f"{task.name}: {only} among the {len(rows)} labelled {labels} images at fraction "
            f"{fraction:g}; two are needed: check the labels and the split"
        )


def _patients(
    patient_ids: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number of each sample's patient; images of each patient, and a hash of its id's text."""
    patient, names = pd.factorize(np.asarray(patient_ids))
    return patient.astype(np.int64), np.bincount(patient), hash_texts(map(str, names))


def _holds(targets: NDArray[np.int64] | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each sample has each class (or label): shape (N, classes)."""
    if targets.ndim == 2:
        return np.asarray(targets == 1, dtype=np.bool_)
    classes = np.arange(targets.max(initial=-1) + 1)
    return np.asarray(targets[:, None] == classes, dtype=np.bool_)
