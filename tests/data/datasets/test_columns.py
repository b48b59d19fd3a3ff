"""Tables of known data sets are found and read, or named with their source."""

import re
from pathlib import Path

import pytest

from medstrata.data.datasets.check import check
from medstrata.data.datasets.columns import walk_files
from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support.dataset_trees import TREES

# The files without which a data set cannot be indexed.
TABLES = {
    "nih-chestxray14": "Data_Entry_2017.csv",
    "chexpert": "train.csv",
    "mimic-cxr-jpg": "mimic-cxr-2.0.0-chexpert.csv.gz",
    "eyepacs": "trainLabels.csv",
    "aptos-2019": "train.csv",
    "pcam": "camelyonpatch_level_2_split_valid_y.h5",
    "medmnist/octmnist": "octmnist.npz",
}


@pytest.mark.parametrize(("name", "file"), TABLES.items())
def test_a_missing_table_is_named_with_its_source(name: str, file: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path)
    (root / file).unlink()
    (finding,) = check(DATASETS[name], root)
    assert finding.kind == "table"
    assert file in finding.text
    assert DATASETS[name].url in finding.text


@pytest.mark.parametrize(("name", "file"), TABLES.items())
def test_a_broken_table_is_named_with_its_source(name: str, file: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path)
    (root / file).write_bytes((root / file).read_bytes()[:-20] if ".csv" not in file else b"a,b\n1")
    with pytest.raises(MedstrataError, match=re.escape(file)) as raised:
        DATASETS[name].table(root)
    assert str(raised.value).endswith(f": get a sound copy, see {DATASETS[name].url}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_root_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="nowhere"):
        DATASETS[name].index(tmp_path / "nowhere")


def test_files_of_a_folder_come_before_those_below_it(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for file in ("b.png", "a/2.png", "a/1.png", ".hidden.png", ".git/3.png", "c.png"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    elsewhere.mkdir()
    (elsewhere / "4.png").touch()
    (root / "link").symlink_to(elsewhere)
    own = ["b.png", "c.png", "a/1.png", "a/2.png"]
    assert list(walk_files(root, follow_links=False)) == own
    assert list(walk_files(root, follow_links=True)) == [*own, "link/4.png"]
