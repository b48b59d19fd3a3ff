"""What is peculiar to each known data set."""

import sys
from pathlib import Path

import numpy as np
import pytest

from medstrata.data.datasets.dataset import choose_split
from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def indexed(name: str, root: Path):
    return DATASETS[name].index(root).set_index("file")


def test_nih_findings_become_columns(tmp_path: Path) -> None:
    table = indexed("nih-chestxray14", trees.nih(tmp_path))
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
    assert (table["split.official"] == "val").sum() == 4  # 2 of 15 patients are next to an eighth
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
    assert "images/00000002_001.png" in indexed("nih-chestxray14", root).index


def test_chexpert_keeps_uncertain_and_unknown(tmp_path: Path) -> None:
    table = indexed("chexpert", trees.chexpert_small(tmp_path))
    row = table.loc["train/patient00001/study1/view1_frontal.jpg"]
    assert row["No Finding"] == "0"
    assert row.isna()["Enlarged Cardiomediastinum"]
    assert row["Cardiomegaly"] == "-1"
    assert row["Lung Opacity"] == "1"
    assert row["patient_id"] == "patient00001"
    assert row["view"] == "Frontal"


def test_chexpert_tests_on_valid_unless_the_test_part_is_there(tmp_path: Path) -> None:
    dataset = DATASETS["chexpert"]
    without = indexed("chexpert", trees.chexpert_small(tmp_path / "a"))
    assert "split.with-test" not in without
    folder = without.index.str.partition("/").get_level_values(0)
    assert {*without.loc[folder == "valid", "split.official"]} == {"test"}
    assert without["split.official"].value_counts()["val"] == 4  # 2 of 16 patients
    root = trees.chexpert_small(tmp_path / "b", test=True)
    table = dataset.index(root)
    part = table["file"].str.partition("/")[0]
    assert table["split.with-test"].equals(part.replace({"valid": "val"}))
    assert table.loc[part == "test", "split.official"].isna().all()
    # The folder above will do.
    above = dataset.index(root.parent)
    assert above["file"].equals("CheXpert-v1.0-small/" + table["file"])


def test_chexpert_strange_mark_is_named(tmp_path: Path) -> None:
    root = trees.chexpert_small(tmp_path)
    path = root / "valid.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",1.0,0.0", ",2.0,0.0")
    path.write_text("\n".join(lines))
    with pytest.raises(MedstrataError, match=r"valid.csv, line 4: .* is '2.0'"):
        DATASETS["chexpert"].index(root)


def test_mimic_joins_studies_and_reads_unpacked_tables(tmp_path: Path) -> None:
    packed = DATASETS["mimic-cxr-jpg"].index(trees.mimic(tmp_path / "a"))
    plain = DATASETS["mimic-cxr-jpg"].index(trees.mimic(tmp_path / "b", packed=False))
    assert packed.equals(plain)
    labels = list(DATASETS["mimic-cxr-jpg"].labels)
    assert packed.loc[0, labels].isna().all()  # its study has no row
    # Study 1 starts with 0, then -1, unknown, 1.
    assert packed.loc[2, labels[:2]].tolist() == ["0", "-1"]
    assert packed.loc[3, labels].isna().sum() == 3
    assert packed.loc[2, "view"] == "PA"
    assert packed["split.official"].value_counts().to_dict() == {"train": 20, "test": 8, "val": 4}
    assert packed.loc[2, "file"].startswith("files/p10/p10500032/s50414268/02aa804e-")


def test_idc_reads_names_and_prefers_the_root(tmp_path: Path) -> None:
    root = trees.idc(tmp_path / "a")
    table = indexed("idc", root)
    assert table["idc"].value_counts().to_dict() == {"0": 30, "1": 10}
    assert table["patient_id"].nunique() == 10
    held = table.groupby("split.paper")["patient_id"].unique().map(sorted).to_dict()
    assert (held["val"], held["test"]) == (["10253", "8863"], ["10270", "10287"])
    counts = table["split.seeded"].value_counts().to_dict()
    assert counts == {"train": 24, "val": 8, "test": 8}
    # The archive holds all patients twice.
    copy = root / "IDC_regular_ps50_idx5"
    trees.idc(copy)
    assert len(indexed("idc", root)) == 40
    nested = tmp_path / "nested" / "IDC_regular_ps50_idx5"
    trees.idc(nested)
    files = indexed("idc", nested.parent).index
    assert len(files) == 40
    assert files.str.startswith("IDC_regular_ps50_idx5/").all()


def test_idc_strange_name_is_refused(tmp_path: Path) -> None:
    root = trees.idc(tmp_path)
    trees.write_image(root / "8863" / "0" / "8863_copy.png", 0)
    with pytest.raises(MedstrataError, match=r"'8863_copy\.png' is not as expected"):
        DATASETS["idc"].index(root)


def test_eyepacs_keeps_two_eyes_together(tmp_path: Path) -> None:
    root = trees.eyepacs(tmp_path)
    table = indexed("eyepacs", root)
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


def test_aptos_test_images_have_no_grade(tmp_path: Path) -> None:
    root = trees.aptos(tmp_path)
    table = indexed("aptos-2019", root)
    assert table.loc["train_images/000c1434d8d7.png", "grade"] == "0"
    assert table["grade"].isna().sum() == 3
    (root / "test.csv").unlink()
    assert len(indexed("aptos-2019", root)) == 20


def test_breakhis_patient_under_two_subtypes(tmp_path: Path) -> None:
    root = trees.breakhis(tmp_path)
    table = DATASETS["breakhis"].index(root)
    assert table["patient_id"].nunique() == len(trees._SLIDES) - 1
    both = table[table["patient_id"] == "14-13412"]
    assert len(both) == 8
    assert {*both["tumour"]} == {"malignant"}
    assert both["subtype"].isna().all()
    assert table["subtype"].isna().sum() == 8
    assert table["magnification"].value_counts().to_dict() == dict.fromkeys(
        ("40", "100", "200", "400"), len(trees._SLIDES)
    )
    inside = DATASETS["breakhis"].index(root / "BreaKHis_v1")
    assert ("BreaKHis_v1/" + inside["file"]).equals(table["file"])


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
    np.savez(tmp_path / "octmnist.npz", **arrays)
    with pytest.raises(MedstrataError, match="no sound npz file"):
        DATASETS["medmnist/octmnist"].index(tmp_path)


@pytest.mark.parametrize("lines", [False, True], ids=["csv", "jsonl"])
def test_imagefolder_metadata(lines: bool, tmp_path: Path) -> None:
    table = indexed("imagefolder", trees.imagefolder_metadata(tmp_path, lines=lines))
    assert [*table.columns] == ["patient_id", "finding", "split.folder"]
    assert table.loc["validation/0009.png"].tolist() == ["p004", "1", "val"]


def test_imagefolder_metadata_at_the_root_and_classes_without_splits(tmp_path: Path) -> None:
    root = tmp_path / "listed"
    for name in ("a/0.png", "a/1.png"):
        trees.write_image(root / name, 0)
    (root / "metadata.csv").write_text("file_name,grade\na/0.png,2\na/1.png,\n")
    table = indexed("imagefolder", root)
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
