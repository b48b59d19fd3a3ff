"""CheXpert: uncertain marks, and which part is tested on."""

from pathlib import Path

import pytest

from medstrata.data.datasets.check import check
from medstrata.data.datasets.registry import DATASETS
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as trees


def test_chexpert_keeps_uncertain_and_unknown(tmp_path: Path) -> None:
    table = trees.indexed("chexpert", trees.chexpert_small(tmp_path))
    row = table.loc["train/patient00001/study1/view1_frontal.jpg"]
    assert row["No Finding"] == "0"
    assert row.isna()["Enlarged Cardiomediastinum"]
    assert row["Cardiomegaly"] == "-1"
    assert row["Lung Opacity"] == "1"
    assert row["patient_id"] == "patient00001"
    assert row["view"] == "Frontal"


def test_chexpert_tests_on_valid_unless_the_test_part_is_there(tmp_path: Path) -> None:
    dataset = DATASETS["chexpert"]
    without = trees.indexed("chexpert", trees.chexpert_small(tmp_path / "a"))
    assert "split.with-test" not in without
    folder = without.index.str.partition("/").get_level_values(0)
    assert {*without.loc[folder == "valid", "split.official"]} == {"test"}
    assert without["split.official"].value_counts()["val"] == 2  # 1 of 16 patients is drawn
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


@pytest.mark.parametrize("tables_above", [False, True])
def test_chexpert_as_its_archives_unpack(tmp_path: Path, tables_above: bool) -> None:
    merged = trees.chexpert_small(tmp_path)
    first = tmp_path / "raw" / "CheXpert-v1.0 batch 1 (validate & csv)"
    others = [tmp_path / "raw" / f"CheXpert-v1.0 batch {n + 2} (train {n + 1})" for n in range(2)]
    for number, patient in enumerate(sorted((merged / "train").iterdir())):
        others[number % 2].mkdir(parents=True, exist_ok=True)
        patient.rename(others[number % 2] / patient.name)
    first.mkdir()
    (merged / "valid").rename(first / "valid")
    for name in ("train.csv", "valid.csv"):
        (merged / name).rename((tmp_path / "raw" if tables_above else first) / name)
    table = trees.indexed("chexpert", tmp_path / "raw")
    assert len(table) == 44
    assert all((tmp_path / "raw" / name).is_file() for name in table.index)
    assert "view1_frontal" in table.index[0]
    found = check(DATASETS["chexpert"], tmp_path / "raw")
    assert not [finding for finding in found if finding.kind in ("file", "table", "note")][1:]
