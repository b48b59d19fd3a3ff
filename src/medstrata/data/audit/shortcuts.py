"""How well an image's form alone predicts its label: size, format, mean colour, border.

A model that is given the whole image can use each of these, so a label that they predict may be
learned without any finding being seen.

Legend: N samples, C channels, F features, K classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from medstrata.data.audit.counts import plain_conversions
from medstrata.data.labels import Task
from medstrata.data.splits import rarest_classes
from medstrata.data.store.store import Store
from medstrata.metrics.intervals import Interval, bootstrap_interval
from medstrata.metrics.kinds import TaskKind
from medstrata.runtime.console import progress_bar
from medstrata.runtime.randomness import Stream, permutation

STRONG = 0.7  # AUROC
MOST_IMAGES = 20_000  # looked at; whole patients
_RESAMPLES = 300
_FOLDS = 5
_PENALTY = 0.01  # of the ridge, per sample
_KINDS = 20  # of the commonest conversions and sites, each a feature
_SEGMENTS = 8  # along each side of the border

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shortcut:
    """What one cue tells about one label.

    Attributes:
        label: The label column.
        cue: size (width, height and aspect of the source image), site (where the image was made,
            if the table says it), format (of the file, with colour and conversions), intensity
            (mean of each channel) or border (a strip along it).
        auroc: Macro AUROC of scores from other patients' images, with its 95 % interval over
            patients, widened for what the folds share; None if the cue is the same for all images
            or the label has too few patients.
        images: Labelled images looked at.
        patients: Their patients.
        verdict: "strong shortcut", "weak shortcut", "chance" or "does not vary".
    """

    label: str
    cue: str
    auroc: Interval | None
    images: int
    patients: int
    verdict: str


def find_shortcuts(store: Store, tasks: Sequence[Task], seed: int = 0) -> list[Shortcut]:
    """Measure every cue against every label.

    Args:
        store: Up to `MOST_IMAGES` of its images are read.
        tasks: The labels; none of them multilabel.
        seed: Decides which images are looked at, and the folds.

    Returns:
        A row for each label and cue, in this order.
    """
    if not tasks:
        return []
    rows = _some_patients(store.patients, seed)
    cues = cue_features(store, rows)
    patients = store.patients[rows]
    shortcuts = []
    # Sums as small as these wait for a second thread longer than they take.
    with threadpool_limits(1, user_api="blas"), progress_bar() as bar:
        for task in bar.track(tasks, description="labels told by form"):
            classes = np.asarray(task.targets[rows], dtype=np.int64)
            shortcuts += [
                measure(task.name, cue, features, classes, patients, task.kind, seed)
                for cue, features in cues.items()
            ]
    return shortcuts


def measure(
    label: str,
    cue: str,
    features: Floats,
    classes: Rows,
    patient_ids: NDArray[Any],
    kind: TaskKind,
    seed: int = 0,
) -> Shortcut:
    """Predict a label from some features, patient by patient, and score it.

    Args:
        label: Name of the label.
        cue: Name of the features.
        features: Shape (N, F).
        classes: Shape (N,), -1 unknown. Classes of fewer than `_FOLDS` patients are left out.
        patient_ids: Shape (N,).
        kind: Of the label; not multilabel.
        seed: Decides the folds.
    """
    kept = _enough_patients(classes, patient_ids)
    present, target = np.unique(classes[kept], return_inverse=True)
    patients = len(np.unique(patient_ids[kept]))
    if len(present) < 2 or not np.ptp(features[kept], axis=0).any():
        return Shortcut(label, cue, None, len(kept), patients, "does not vary")
    scores = out_of_fold_scores(features[kept], target, patient_ids[kept], seed)
    two = len(present) == 2
    auroc = bootstrap_interval(
        "macro_auroc",
        target,
        scores[:, 1:] if two else scores,
        "binary" if two else kind,
        patient_ids[kept],
        resamples=_RESAMPLES,
        seed=seed,
    )
    auroc = _widened(auroc)
    return Shortcut(label, cue, auroc, len(kept), patients, _verdict(auroc))


def out_of_fold_scores(
    features: Floats, target: Rows, patient_ids: NDArray[Any], seed: int = 0
) -> Floats:
    """Score every sample by a ridge regression on the samples of other patients.

    The features are standardised and stand beside their squares. Each class has the same weight,
    and scores are ranks within their fold, so that folds with other class shares compare.

    Args:
        features: Shape (N, F).
        target: Class numbers 0..K-1, shape (N,).
        patient_ids: Shape (N,).
        seed: Decides the folds.

    Returns:
        Shape (N, K), 0 to 1.

    Source: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, eq. 3.44.
    """
    from scipy.stats import rankdata

    fold = _folds(target, patient_ids, seed)
    scores = np.zeros((len(target), int(target.max()) + 1))
    for number in np.unique(fold):
        test, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        raw = _ridge(features[train], target[train], features[test], scores.shape[1])
        # Rounded: a constant score must not be ranked by its last digits.
        scores[test] = rankdata(np.round(raw, 9), axis=0) / len(test)
    return scores


def cue_features(store: Store, rows: Rows) -> Mapping[str, Floats]:
    """The features of each cue for some samples, (N, F) each."""
    table = store.manifest.iloc[rows]
    width, height = (table[name].to_numpy(dtype=np.float64) for name in ("width", "height"))
    pixels = [_pixel_features(store[int(row)]) for row in rows]
    site = table["site"].fillna("")
    sites = site.value_counts().index[:_KINDS]
    return {
        "size": np.log(np.stack([width, height, width / height], axis=1)),
        **({"site": _one_hot(site, sites)} if table["site"].notna().any() else {}),
        "format": _format_features(table),
        "intensity": np.stack([mean for mean, _ in pixels]),
        "border": np.stack([border for _, border in pixels]),
    }


def _format_features(table: pd.DataFrame) -> Floats:
    """Format, channels and conversions as zeros and ones."""
    conversion = plain_conversions(table)
    common = conversion.value_counts().index[:_KINDS]
    formats = _one_hot(table["format"], table["format"].dropna().unique())
    grey = _one_hot(table["source_channels"], [1])
    return np.concatenate([formats, grey, _one_hot(conversion, common)], axis=1)


def _one_hot(values: pd.Series, names: Iterable[Any]) -> Floats:
    """A column of zeros and ones for each name, in alphabetical order."""
    columns = [values.to_numpy() == name for name in sorted(names)]
    return np.stack(columns, axis=1).astype(np.float64)


def _pixel_features(pixels: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean of each channel, (C,), and of each segment of the border, (4 * segments * C,)."""
    side = len(pixels)
    thick = max(1, side // 16)
    strips = [pixels[:thick], pixels[-thick:]]
    strips += [pixels[:, :thick].swapaxes(0, 1), pixels[:, -thick:].swapaxes(0, 1)]
    segments = [
        cv2.resize(np.ascontiguousarray(strip), (_SEGMENTS, 1), interpolation=cv2.INTER_AREA)
        for strip in strips
    ]
    mean = np.asarray(cv2.mean(pixels)[: pixels.shape[2]], dtype=np.float64)
    return mean, np.concatenate([one.ravel() for one in segments]).astype(np.float64)


def _some_patients(patient_ids: NDArray[Any], seed: int) -> Rows:
    """Samples of as many patients as make up `MOST_IMAGES`, at random."""
    _, patient, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    order = permutation(len(images), Stream.SHORTCUT_IMAGES, seed)
    taken = order[np.cumsum(images[order]) <= max(MOST_IMAGES, int(images[order[0]]))]
    return np.flatnonzero(np.isin(patient, taken)).astype(np.int64)


def _enough_patients(classes: Rows, patient_ids: NDArray[Any]) -> Rows:
    labelled = np.flatnonzero(classes >= 0)
    _, patient = np.unique(patient_ids, return_inverse=True)
    pairs = np.unique(classes[labelled] * len(patient) + patient[labelled])
    patients = np.bincount(pairs // len(patient), minlength=1)
    return labelled[patients[classes[labelled]] >= _FOLDS]


def _folds(target: Rows, patient_ids: NDArray[Any], seed: int) -> Rows:
    """A fold for each sample, patients whole, each class's patients dealt out in turn."""
    _, patient = np.unique(patient_ids, return_inverse=True)
    # A patient is dealt with those of its rarest class, so that no fold goes without.
    stratum = rarest_classes(target, patient)
    shuffled = permutation(len(stratum), Stream.SHORTCUT_FOLDS, seed)
    order = shuffled[np.argsort(stratum[shuffled], kind="stable")]
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % _FOLDS
    return fold[patient]


def _ridge(features: Floats, target: Rows, others: Floats, classes: int) -> Floats:
    """Fit on some samples, score others: (N, F), (N,), (M, F) -> (M, K).

    scikit-learn's takes ten times as long to check what it is given as to solve it.
    """
    mean = features.mean(axis=0)
    deviation = np.where(np.ptp(features, axis=0) > 0, features.std(axis=0), 1)

    def expand(values: Floats) -> Floats:
        # A feature far outside what was seen says no more than one at its edge.
        scaled = np.clip((values - mean) / deviation, -5, 5)
        return np.concatenate([scaled, scaled**2], axis=1)

    truth = np.eye(classes)[target]
    weight = (truth / np.maximum(truth.sum(axis=0), 1)).sum(axis=1)
    weight /= weight.sum()
    seen = expand(features)
    centre, height = weight @ seen, weight @ truth
    seen -= centre
    weighted = seen.T * weight
    slope = np.linalg.solve(
        weighted @ seen + _PENALTY * np.eye(seen.shape[1]), weighted @ (truth - height)
    )
    return np.asarray((expand(others) - centre) @ slope + height, dtype=np.float64)


def _widened(auroc: Interval) -> Interval:
    """Allow for the folds lending each other their samples.

    Every two folds meet twice, each once as training and once as test. Where there is nothing to
    learn, what one meeting gains by luck the other gains too, so the variance is twice that of
    independent samples, which is what the resampling of patients sees.
    """
    low = auroc.value - math.sqrt(2) * (auroc.value - auroc.low)
    high = auroc.value + math.sqrt(2) * (auroc.high - auroc.value)
    return replace(auroc, low=max(0.0, low), high=min(1.0, high))


def _verdict(auroc: Interval) -> str:
    if auroc.low <= 0.5:
        return "chance"
    return "strong shortcut" if auroc.value >= STRONG else "weak shortcut"
