"""MedMNIST: sizes, labels, and files that may not run code."""

from pathlib import Path

import numpy as np
import pytest

from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_medmnist_sizes_and_roots(tmp_path: Path) -> None:
    dataset = DATASETS["medmnist/pathmnist"]
    trees.medmnist("pathmnist", tmp_path, size=64)
    table = dataset.index(tmp_path)
    assert {*table["file"]} == {"pathmnist_64.npz"}
    assert table["array"].drop_duplicates().tolist() == [
        "train_images",
        "val_images",
        "test_images",
    ]
    assert table["frame"].tolist() == [*range(18), *range(12), *range(12)]
    assert table["label"].iloc[:3].tolist() == ["adipose", "background", "debris"]
    trees.medmnist("pathmnist", tmp_path)
    with pytest.raises(MedstrataError, match=r"has pathmnist.npz, pathmnist_64.npz: name one"):
        dataset.index(tmp_path)
    assert dataset.index(tmp_path / "pathmnist_64.npz").equals(table)


def test_medmnist_findings_and_grades(tmp_path: Path) -> None:
    chest = DATASETS["medmnist/chestmnist"].index(trees.medmnist("chestmnist", tmp_path))
    assert chest.loc[1, ["atelectasis", "cardiomegaly", "hernia"]].tolist() == ["1", "0", "0"]
    retina = DATASETS["medmnist/retinamnist"]
    assert retina.ordinal == ("label",)
    assert retina.labels["label"] == ("0", "1", "2", "3", "4")


def test_medmnist_of_another_set_is_refused(tmp_path: Path) -> None:
    (trees.medmnist("pathmnist", tmp_path) / "pathmnist.npz").rename(tmp_path / "octmnist.npz")
    with pytest.raises(MedstrataError, match="labels that OCTMNIST has not"):
        DATASETS["medmnist/octmnist"].index(tmp_path)


def test_medmnist_never_unpickles(tmp_path: Path) -> None:
    arrays = {f"{split}_labels": np.array([{}], dtype=object) for split in ("train", "val", "test")}
    np.savez(tmp_path / "octmnist.npz", train_images=np.zeros((1, 9, 9), np.uint8), **arrays)
    with pytest.raises(MedstrataError, match="train_labels cannot be read"):
        DATASETS["medmnist/octmnist"].index(tmp_path)


def test_medmnist_totals_are_the_published_ones() -> None:
    totals = {
        "path": 107_180,
        "chest": 112_120,
        "derma": 10_015,
        "oct": 109_309,
        "pneumonia": 5_856,
        "retina": 1_600,
        "breast": 780,
        "blood": 17_092,
        "tissue": 236_386,
        "organa": 58_830,
        "organc": 23_583,
        "organs": 25_211,
    }
    known = {name for name in DATASETS if name.startswith("medmnist/")}
    assert known == {f"medmnist/{name}mnist" for name in totals}
    for name, total in totals.items():
        assert DATASETS[f"medmnist/{name}mnist"].images == total
