"""Folders of images with metadata files."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from medstrata.data.datasets.dataset import choose_split
from medstrata.data.datasets.registry import DATASETS
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
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


def test_metadata_may_be_parquet(tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        trees.write_image(tmp_path / "train" / name, 0)
    rows = {"file_name": ["0.png", "1.png"], "diagnosis": [0, 1], "patient_id": ["a", "b"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "train" / "metadata.parquet")
    table = trees.indexed("imagefolder", tmp_path)
    assert table.loc["train/1.png"].to_dict() == {
        "patient_id": "b", "diagnosis": "1", "split.folder": "train",
    }  # fmt: skip


def test_splits_are_found_below_a_folder_of_the_archive(tmp_path: Path) -> None:
    splits = {"train": "train", "Val": "val", "test": "test"}
    for split in splits:
        for kind in ("NORMAL", "PNEUMONIA"):
            trees.write_image(tmp_path / "chest_xray" / "x" / split / kind / f"{kind}.png", 0)
    table = trees.indexed("imagefolder", tmp_path)
    for split, meant in splits.items():
        row = table.loc[f"chest_xray/x/{split}/NORMAL/NORMAL.png"]
        assert (row["label"], row["split.folder"]) == ("NORMAL", meant)


def test_a_deep_folder_that_not_all_images_lie_in_is_no_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("benign/test/0.png", "benign/1.png", "malignant/2.png"):
        trees.write_image(tmp_path / name, 0)
    table = trees.indexed("imagefolder", tmp_path)
    assert list(table.columns) == ["label"]
    assert "not every image lies in one" in " ".join(capsys.readouterr().err.split())


def test_every_image_that_is_listed_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "in"
    for number, suffix in enumerate(("png", "bmp", "pgm", "gif", "tif", "webp", "jpg", "BMP")):
        for label in "ab":
            path = root / label / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(trees.noise(number + ord(label), 24, 24)).save(path)
    (root / "a" / "x.nrrd").touch()
    store = prepare(root, tmp_path / "out", PrepareSettings(dataset="imagefolder", split="1/0/0"))
    assert len(store) == 16
    said = " ".join(capsys.readouterr().err.split())
    assert "1 images are of kinds that are not read: a/x.nrrd" in said
