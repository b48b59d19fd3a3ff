"""Folders of images with metadata files."""

from pathlib import Path

import pytest

from medstrata.data.datasets.dataset import choose_split
from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


@pytest.mark.parametrize("lines", [False, True], ids=["csv", "jsonl"])
def test_imagefolder_metadata(lines: bool, tmp_path: Path) -> None:
    table = trees.indexed("imagefolder", trees.imagefolder_metadata(tmp_path, lines=lines))
    assert [*table.columns] == ["patient_id", "finding", "split.folder"]
    assert table.loc["validation/0009.png"].tolist() == ["p004", "1", "val"]


def test_imagefolder_metadata_at_the_root_and_classes_without_splits(tmp_path: Path) -> None:
    root = tmp_path / "listed"
    for name in ("a/0.png", "a/1.png"):
        trees.write_image(root / name, 0)
    (root / "metadata.csv").write_text("file_name,grade\na/0.png,2\na/1.png,\n")
    table = trees.indexed("imagefolder", root)
    assert table.loc["a/0.png", "grade"] == "2"
    assert table["grade"].isna().tolist() == [False, True]
    assert [*table.columns] == ["grade"]  # one folder is no class
    plain = tmp_path / "plain"
    for name in ("benign/0.png", "malignant/1.png"):
        trees.write_image(plain / name, 0)
    dataset = DATASETS["imagefolder"]
    table = dataset.index(plain)
    assert table.to_dict("list") == {
        "file": ["benign/0.png", "malignant/1.png"],
        "label": ["benign", "malignant"],
    }
    assert choose_split(dataset, table) is None
    assert choose_split(dataset, dataset.index(trees.imagefolder(tmp_path / "f"))) == "split.folder"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.csv", "name,grade\na.png,1\n", "column file_name"),
        ("metadata.csv", "file_name,frame\na.png,1\n", "has a column 'frame'"),
        ("metadata.jsonl", '{"file_name": "a.png"}\n{"file', "metadata.jsonl, line 2 is not JSON"),
        ("metadata.jsonl", "[1]", "line 1 is not a JSON object"),
        ("metadata.csv", "file_name,x\na.png,1\na.png,2\n", "a.png is listed twice"),
    ],
)
def test_imagefolder_broken_metadata(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(MedstrataError, match=message):
        DATASETS["imagefolder"].index(tmp_path)
