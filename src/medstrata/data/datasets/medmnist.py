"""MedMNIST v2 and MedMNIST+: twelve sets of small images, each in one npz file a size.

Their facts are in `medmnist.json`, as medmnist 3.0.2 has them: `counts` of the images that train,
validate and test, `classes` (the label columns of 0 and 1 where it says `findings`; in order where
it says `ordinal`), and the `md5` of the files of 28, 64, 128 and 224 px.
"""

import json
import zipfile
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medstrata.data.datasets.columns import require_folder, text_table
from medstrata.data.datasets.dataset import DamagedCopy, Dataset
from medstrata.data.formats.arrays import array_length
from medstrata.data.formats.refusals import ImageError
from medstrata.data.store.store import SPLITS
from medstrata.runtime.errors import MedstrataError, one_line

_SIZES = ("", "_64", "_128", "_224")  # of 28 px, and as the others' files end


def _index(facts: dict[str, Any], root: Path) -> pd.DataFrame:
    """The table of images below a folder, or of the npz file that the root is itself."""
    path = root if root.suffix == ".npz" else _find(facts["title"].lower(), root)
    parts = []
    for split in SPLITS:
        part, labels = read_part(path, split)
        parts.append(part.assign(**_answers(facts, labels, path)))
    table = pd.concat(parts, ignore_index=True)
    return text_table(table)


def _find(name: str, root: Path) -> Path:
    require_folder(root)
    names = [f"{name}{size}.npz" for size in _SIZES]
    there = [root / name for name in names if (root / name).is_file()]
    if not there:
        raise DamagedCopy(f"{root} has none of {', '.join(names)}")
    if len(there) > 1:
        raise MedstrataError(
            f"{root} has {', '.join(path.name for path in there)}: name one of these files instead"
        )
    return there[0]


def read_part(path: Path, split: str) -> tuple[pd.DataFrame, np.ndarray]:
    """A row for each image of a split, still without labels, and the labels, (N, columns).

    Raises:
        DamagedCopy: its arrays are missing, damaged or of different lengths.
    """
    rows = image_rows(path, split)
    return rows, read_answers(path, split, len(rows))


def image_rows(path: Path, split: str) -> pd.DataFrame:
    """A row for each image of a split.

    Raises:
        DamagedCopy: there are none that can be read.
    """
    try:
        images = array_length(path, f"{split}_images")
    except (OSError, ValueError, zipfile.BadZipFile, ImageError) as error:
        raise DamagedCopy(f"{path}: {split}_images cannot be read ({one_line(error)})") from error
    columns = {
        "file": path.name,
        "frame": np.arange(images, dtype=np.int64),
        "array": f"{split}_images",
        "split.official": split,
    }
    return pd.DataFrame(columns)


def read_answers(path: Path, split: str, images: int) -> np.ndarray:
    """The labels of a split, (N, columns).

    Raises:
        DamagedCopy: they are missing, damaged or not as many as its images.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{split}_labels.npy") as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        labels = labels.reshape(len(labels), -1)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedCopy(f"{path}: {split}_labels cannot be read ({one_line(error)})") from error
    if len(labels) != images:
        raise DamagedCopy(f"{path} has {len(labels)} labels for {images} {split} images")
    return labels


def _answers(facts: dict[str, Any], labels: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    findings = "findings" in facts
    names = facts["classes"] if findings else ("label",)
    values = np.asarray(("0", "1") if findings else facts["classes"])
    if labels.shape[1] != len(names) or not np.isin(labels, np.arange(len(values))).all():
        raise DamagedCopy(f"{path} has labels that {facts['title']} has not")
    return dict(zip(names, values[labels.T.astype(np.int64)], strict=True))


def _dataset(facts: dict[str, Any]) -> Dataset:
    name, classes = facts["title"].lower(), tuple(facts["classes"])
    findings = "findings" in facts
    return Dataset(
        name=f"medmnist/{name}",
        title=facts["title"],
        modality=facts["modality"],
        images=sum(facts["counts"]),
        labels=dict.fromkeys(classes, ("0", "1")) if findings else {"label": classes},
        ordinal=("label",) if "ordinal" in facts else (),
        task=",".join(classes) if findings else "label",
        splits=("official",),
        split_sizes={"official": dict(zip(SPLITS, facts["counts"], strict=True))},
        licence=facts.get("licence", "CC BY 4.0"),
        citation=(
            "Yang, Shi, Wei et al.: MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D"
            " biomedical image classification, Scientific Data 2023"
        ),
        url="https://zenodo.org/records/10519652",
        layout=f"{name}.npz (28 px), or {name}_64.npz, {name}_128.npz, {name}_224.npz\n"
        "The root is the file, or a folder with one of them.",
        checksums={
            f"{name}{size}.npz": f"md5:{md5}"
            for size, md5 in zip(_SIZES, facts["md5"], strict=True)
        },
        note="Patients are not known, so intervals are over images.",
        index=partial(_index, facts),
    )


_FACTS = files("medstrata.data.datasets").joinpath("medmnist.json").read_text(encoding="utf-8")
MEDMNIST = tuple(_dataset(facts) for facts in json.loads(_FACTS))
