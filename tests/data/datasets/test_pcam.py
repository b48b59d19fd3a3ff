"""PatchCamelyon: rows of HDF5 files."""

import sys
from pathlib import Path

import pytest

from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_pcam_rows_are_frames(tmp_path: Path) -> None:
    root = trees.pcam(tmp_path / "a")
    table = DATASETS["pcam"].index(root)
    val = table[table["split.official"] == "val"]
    assert val["file"].unique().tolist() == ["camelyonpatch_level_2_split_valid_x.h5"]
    assert val["frame"].tolist() == [0, 1, 2, 3]
    assert val["tumour"].tolist() == ["0", "1", "0", "1"]
    assert {*table["array"]} == {"x"}
    assert "patient_id" not in DATASETS["pcam"].index(trees.pcam(tmp_path / "b", meta=False))


def test_pcam_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = trees.pcam(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MedstrataError, match=r"pip install 'medstrata\[hdf5\]'"):
        DATASETS["pcam"].index(root)
