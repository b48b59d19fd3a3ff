"""EyePACS: two eyes of a patient."""

from pathlib import Path

import pytest

from medstrata.data.datasets.dataset import choose_split
from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_eyepacs_keeps_two_eyes_together(tmp_path: Path) -> None:
    root = trees.eyepacs(tmp_path)
    table = trees.indexed("eyepacs", root)
    assert (table.groupby("patient_id")["eye"].nunique() == 2).all()
    assert table.loc["train/13_left.jpeg", ["patient_id", "grade"]].tolist() == ["13", "1"]
    pairs = set(zip(table["grade"], table["referable"], strict=True))
    assert pairs == {("0", "0"), ("1", "0"), ("2", "1"), ("3", "1"), ("4", "1")}
    assert table["split.kaggle"].value_counts().to_dict() == {"train": 28, "test": 12, "val": 4}
    assert (table["split.official"] == "test").sum() == 16
    (root / "retinopathy_solution.csv").unlink()
    alone = DATASETS["eyepacs"].index(root)
    assert len(alone) == 28
    with pytest.raises(MedstrataError, match=r"needs retinopathy_solution.csv"):
        choose_split(DATASETS["eyepacs"], alone)
