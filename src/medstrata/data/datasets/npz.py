"""Your own arrays in MedMNIST's layout."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.columns import require_folder, text_table
from medstrata.data.datasets.dataset import DamagedCopy, Dataset
from medstrata.data.datasets.medmnist import image_rows, read_answers
from medstrata.data.store.store import SPLITS
from medstrata.runtime.errors import MedstrataError, first_few


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    path = root if root.suffix == ".npz" else _only(root)
    arrays = _arrays(path)
    if "train_images.npy" not in arrays:
        has = first_few(name.removesuffix(".npy") for name in arrays)
        raise MedstrataError(f"{path} has {has} and no train_images; it must be {_IN_WORDS}")
    try:
        parts = [_part(path, split, arrays) for split in SPLITS if f"{split}_images.npy" in arrays]
    except DamagedCopy as error:
        raise MedstrataError(f"{error}; it must be {_IN_WORDS}") from error
    table = pd.concat(parts, ignore_index=True)
    return text_table(table)


def _only(root: Path) -> Path:
    require_folder(root)
    there = sorted(root.glob("*.npz"))
    if len(there) != 1:
        raise MedstrataError(f"{root} has {len(there)} npz files: give the path of one")
    return there[0]


def _arrays(root: Path) -> list[str]:
    try:
        with zipfile.ZipFile(root) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise MedstrataError(f"{root} is no sound npz file: give the path of one") from error


def _part(path: Path, split: str, arrays: list[str]) -> pd.DataFrame:
    part = image_rows(path, split)
    if f"{split}_labels.npy" not in arrays:
        return part
    labels = read_answers(path, split, len(part))
    several = labels.shape[1] > 1
    answers = {
        f"label_{number}" if several else "label": column.astype(np.str_)
        for number, column in enumerate(labels.T)
    }
    return part.assign(**answers)


_LAYOUT = """\
one npz file, or a folder with one, with train_images (N, H, W), (N, H, W, 3) or (N, 3, H, W), and
if there are labels train_labels (N,) or (N, labels), and so for val and test"""
_IN_WORDS = " ".join(_LAYOUT.split())

NPZ = Dataset(
    name="npz",
    title="Your own, as arrays in MedMNIST's layout",
    modality="any",
    task="label",
    licence="your own",
    citation="none",
    url="https://medmnist.com",
    layout=_LAYOUT,
    note="Patients are not known, so intervals are over images.",
    index=index,
)
