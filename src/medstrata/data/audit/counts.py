"""What a store holds, counted: labels per split and fraction, formats and sizes, odd exposures.

Legend: N samples, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.sources import evenly_spaced
from medstrata.data.splits import label_subsets
from medstrata.data.store.store import SPLITS, Store
from medstrata.runtime.errors import MedstrataError

LEAST_CONTRAST = 1.0  # grey levels of standard deviation; below, an image is constant
MOST_BRIGHT, MOST_DARK = 0.25, 0.75  # shares of values at 255 and at 0; a frame may be black
FAINT = 0.125  # of the range of levels; all of an image in it, at black or white, hides it
_MOST_LOOKED_AT = 256
EXAMPLES = 10  # sample ids that a list names at most

Rows = NDArray[np.int64]


def count_labels(store: Store, task: Task, fractions: Sequence[float], seed: int) -> dict[str, Any]:
    """Count images and patients of each class.

    Args:
        store: Has splits and patients.
        task: Not multilabel.
        fractions: Of the labels, as `label_subset` takes them.
        seed: Of the subsets.

    Returns:
        For each split and fraction images, patients and images per class; a fraction that cannot
        be drawn has the reason instead. And how classes spread over patients.
    """
    targets = np.asarray(task.targets, dtype=np.int64)
    patient, _ = pd.factorize(store.patient_ids)
    counts: dict[str, Any] = {}
    subset = label_subsets(task, store, seed)
    for fraction in fractions:
        try:
            counts[f"{fraction:g}"] = _count(patient, task, subset(fraction))
        except MedstrataError as error:
            counts[f"{fraction:g}"] = {"impossible": str(error)}
    pairs = pd.DataFrame({"patient": patient, "class": targets})[targets >= 0]
    several = pairs.drop_duplicates()["patient"].value_counts() > 1
    return {
        "kind": task.kind,
        "splits": {
            split: _count(patient, task, store.rows(split)[targets[store.rows(split)] >= 0])
            | {"unknown": int((targets[store.rows(split)] < 0).sum())}
            for split in SPLITS
        },
        "fractions": counts,
        "patients_of_several_classes": int(several.sum()),
        "patients_of_several_images": int((pairs["patient"].value_counts() > 1).sum()),
        "largest_patients": _largest_patients(store, task, patient),
    }


def _count(patient: Rows, task: Task, rows: Rows) -> dict[str, Any]:
    counts = np.bincount(np.asarray(task.targets[rows], np.int64), minlength=len(task.classes))
    return {
        "images": len(rows),
        "patients": len(np.unique(patient[rows])),
        "per_class": dict(zip(task.classes, counts.tolist(), strict=True)),
    }


def _largest_patients(store: Store, task: Task, patient: Rows) -> list[dict[str, Any]]:
    """For each split and class, how many of its images one patient holds."""
    largest = []
    targets = np.asarray(task.targets)
    for split in SPLITS:
        rows = store.rows(split)
        for number, name in enumerate(task.classes):
            held = pd.Series(patient[rows[targets[rows] == number]]).value_counts()
            if len(held):
                most = {"images": int(held.iloc[0]), "of": int(held.sum()), "patients": len(held)}
                largest.append({"split": split, "class": name, **most})
    return largest


def count_forms(store: Store, tasks: Sequence[Task]) -> dict[str, Any]:
    """Formats, colour, conversions and sizes of the sources in each split and in each class."""
    own = ["format", "source_channels", "conversion", "width", "height"]
    table = store.manifest[own].assign(conversion=plain_conversions(store.manifest))
    return {
        "splits": {
            split: _forms(table.iloc[store.rows(split)])
            for split in SPLITS
            if len(store.rows(split))
        },
        "labels": {
            task.name: {
                name: _forms(table[np.asarray(task.targets) == number])
                for number, name in enumerate(task.classes)
                if (np.asarray(task.targets) == number).any()
            }
            for task in tasks
        },
    }


def plain_conversions(manifest: pd.DataFrame) -> pd.Series:
    """What was done to each image, numbers left out: a window of its own is no kind of its own."""
    return manifest["conversion"].fillna("").str.replace(r"-?\d[\d.e+]*", "#", regex=True)


def _forms(table: pd.DataFrame) -> dict[str, Any]:
    return {
        "images": len(table),
        "formats": _counts(table["format"]),
        "source_channels": _counts(table["source_channels"]),
        "conversions": _counts(table.loc[table["conversion"] != "", "conversion"]),
        "width": _quartiles(table["width"]),
        "height": _quartiles(table["height"]),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.astype("string").value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)[:20]}


def _quartiles(values: pd.Series) -> list[float]:
    """Least, quartiles and most, in pixels."""
    return [float(value) for value in np.quantile(values.to_numpy(np.float64), np.arange(5) / 4)]


def count_faint(store: Store) -> dict[str, Any]:
    """Images, among evenly spaced ones, all of whose levels lie in an eighth at black or white.

    Returns:
        `looked_at` and `images` of them, `examples` their sample ids.
    """
    rows = evenly_spaced(len(store), _MOST_LOOKED_AT)
    top = 2 ** (8 * store.dtype.itemsize) - 1
    faint = [row for row in rows.tolist() if _is_faint(store[row], top)]
    names = store.columns("sample_id")["sample_id"]
    return {
        "looked_at": len(rows),
        "images": len(faint),
        "examples": [str(names[row]) for row in faint[:EXAMPLES]],
    }


def _is_faint(pixels: NDArray[Any], top: int) -> bool:
    low, high = np.percentile(pixels, (0.1, 99.9))
    return bool(high < FAINT * top or low > (1 - FAINT) * top)


def count_exposures(manifest: pd.DataFrame) -> dict[str, Any]:
    """Stored images that are constant, burnt out or nearly black."""
    odd = {
        "constant": manifest["contrast"] < LEAST_CONTRAST,
        "bright": manifest["bright_share"] >= MOST_BRIGHT,
        "dark": manifest["dark_share"] >= MOST_DARK,
    }
    return {
        name: {
            "images": int(which.sum()),
            "examples": manifest.loc[which, "sample_id"].head(EXAMPLES).tolist(),
        }
        for name, which in odd.items()
    }
