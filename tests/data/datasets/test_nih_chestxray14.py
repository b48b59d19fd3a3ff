"""ChestX-ray14: findings, archives and the lists of its splits."""

from pathlib import Path

import pytest

from medstrata.data.datasets.check import check
from medstrata.data.datasets.dataset import choose_split
from medstrata.data.datasets.registry import DATASETS
from medstrata.data.splits import assign_splits
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_nih_findings_become_columns(tmp_path: Path) -> None:
    table = trees.indexed("nih-chestxray14", trees.nih(tmp_path))
    row = table.loc["images/00000001_000.png"]
    assert (row["Atelectasis"], row["Cardiomegaly"], row["Effusion"]) == ("1", "1", "0")
    # The fifth image has "No Finding", the last of the fourteen meets the first.
    assert {*table.loc["images/00000003_000.png", "Atelectasis":"Hernia"]} == {"0"}
    assert table.loc["images/00000007_001.png", ["Hernia", "Atelectasis"]].tolist() == ["1", "1"]
    assert table.loc["images/00000020_001.png", "patient_id"] == "20"


def test_nih_archives_unpacked_apart_are_the_same_set(tmp_path: Path) -> None:
    one = DATASETS["nih-chestxray14"].index(trees.nih(tmp_path / "one"))
    apart = DATASETS["nih-chestxray14"].index(trees.nih(tmp_path / "apart", archives=True))
    assert apart["file"].iloc[0] == "images_001/images/00000001_000.png"
    assert apart["file"].iloc[39] == "images_002/images/00000020_001.png"
    assert one.drop(columns="file").equals(apart.drop(columns="file"))


def test_nih_splits_follow_their_lists(tmp_path: Path) -> None:
    root = trees.nih(tmp_path)
    dataset = DATASETS["nih-chestxray14"]
    table = dataset.index(root)
    assert table["split.paper"].value_counts().to_dict() == {"train": 24, "test": 12, "val": 4}
    assert (table["split.official"] == "test").tolist() == [False] * 30 + [True] * 10
    trained = table[table["split.official"] != "test"]
    drawn = assign_splits(trained["patient_id"], (0.875, 0.125, 0.0), seed=0)
    assert (trained["split.official"] == drawn).all()
    (root / "labels" / "val_list.txt").unlink()
    table = dataset.index(root)
    assert choose_split(dataset, table) == "split.official"
    with pytest.raises(MedstrataError, match=r"needs labels/train_list.txt.*arnoweng/CheXNet"):
        choose_split(dataset, table, "paper")
    with pytest.raises(MedstrataError, match=r"no split 'random'; ready-made are: official, paper"):
        choose_split(dataset, table, "random")


@pytest.mark.parametrize(
    ("part", "line", "message"),
    [
        ("val", "00009999_000.png 0", "val_list.txt names 1 unknown entries"),
        ("val", "00000001_000.png 0", "val_list.txt and the list of train both name 00000001_000"),
    ],
)
def test_nih_lists_must_fit(part: str, line: str, message: str, tmp_path: Path) -> None:
    root = trees.nih(tmp_path)
    with (root / "labels" / f"{part}_list.txt").open("a") as file:
        file.write(line)
    with pytest.raises(MedstrataError, match=message):
        DATASETS["nih-chestxray14"].index(root)


def test_nih_unknown_finding_is_refused(tmp_path: Path) -> None:
    root = trees.nih(tmp_path)
    path = root / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace("No Finding", "Nodul"))
    with pytest.raises(MedstrataError, match="unknown finding 'Nodul'"):
        DATASETS["nih-chestxray14"].index(root)


def test_nih_image_not_on_disk_stays(tmp_path: Path) -> None:
    root = trees.nih(tmp_path)
    (root / "images" / "00000002_001.png").unlink()
    assert "images/00000002_001.png" in trees.indexed("nih-chestxray14", root).index


def test_nih_without_images_is_checked(tmp_path: Path) -> None:
    root = trees.nih(tmp_path)
    for path in root.rglob("*.png"):
        path.unlink()
    found = check(DATASETS["nih-chestxray14"], root)
    assert any("40" in one.text for one in found if one.kind == "file")
