"""IDC: what the names of the patches say."""

from pathlib import Path

import pytest

from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_idc_reads_names_and_prefers_the_root(tmp_path: Path) -> None:
    root = trees.idc(tmp_path / "a")
    table = trees.indexed("idc", root)
    assert table["idc"].value_counts().to_dict() == {"0": 30, "1": 10}
    assert table["patient_id"].nunique() == 10
    held = table.groupby("split.paper")["patient_id"].unique().map(sorted).to_dict()
    assert (held["val"], held["test"]) == (["10253", "8863"], ["10270", "10287"])
    counts = table["split.seeded"].value_counts().to_dict()
    assert counts == {"train": 16, "val": 16, "test": 8}
    # The archive holds all patients twice.
    copy = root / "IDC_regular_ps50_idx5"
    trees.idc(copy)
    assert len(trees.indexed("idc", root)) == 40
    nested = tmp_path / "nested" / "IDC_regular_ps50_idx5"
    trees.idc(nested)
    files = trees.indexed("idc", nested.parent).index
    assert len(files) == 40
    assert files.str.startswith("IDC_regular_ps50_idx5/").all()


def test_idc_strange_name_is_refused(tmp_path: Path) -> None:
    root = trees.idc(tmp_path)
    trees.write_image(root / "8863" / "0" / "8863_copy.png", 0)
    with pytest.raises(MedstrataError, match=r"'8863_copy\.png' is not as expected"):
        DATASETS["idc"].index(root)
