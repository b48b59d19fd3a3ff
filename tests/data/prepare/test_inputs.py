"""Images and rows of labels meet by their names, and what has no partner is said."""

import shutil

import pandas as pd
import pytest

from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.runtime.errors import MedstrataError


def test_list_as_source(image_folder, tmp_path, capsys):
    outside = tmp_path / "outside.png"
    shutil.copy(image_folder / "images" / "site0" / "000.png", outside)
    table = pd.read_csv(image_folder / "labels.csv", dtype=str)
    more = [
        "images/gone.png",
        "../outside.png",
        str(outside),
        "images/also_gone.png",
        "=a\0\x1b.png",
    ]
    extra = pd.DataFrame({"file": more, "patient_id": list("vwxyz"), "finding": "0"})
    absolute = str(image_folder.resolve() / table["file"][7])
    table.loc[7, "file"] = absolute
    pd.concat([table[::-1], extra]).to_csv(image_folder / "labels.csv", index=False)
    store = prepare(
        image_folder / "labels.csv", tmp_path / "out", PrepareSettings(split="fold:test=0,val=1")
    )
    assert len(store) == 48
    assert store.manifest["source"][0] == "images/site1/047.png"  # the list's order
    quarantine = pd.read_csv(store.path / "quarantine.csv")
    assert dict(zip(quarantine["source"], quarantine["reason"], strict=True)) == {
        "../outside.png": "path leads out of the source folder",
        str(outside): "path leads out of the source folder",
        "images/gone.png": "missing",
        "images/also_gone.png": "missing",
        "'=a<U+0000><U+001B>.png": "name that no file can have",
    }
    assert "5 images quarantined" in capsys.readouterr().err
    with pytest.raises(MedstrataError, match="5 of 53 images"):
        prepare(image_folder / "labels.csv", tmp_path / "b", PrepareSettings(max_quarantine=0.05))


def test_rows_without_image_are_listed_but_do_not_count(image_folder, tmp_path):
    table = pd.read_csv(image_folder / "labels.csv", dtype=str)
    extra = pd.DataFrame({"file": [f"gone{n}.png" for n in range(30)]})
    extra.loc[30] = "../elsewhere.png"
    pd.concat([table, extra]).to_csv(image_folder / "labels.csv", index=False)
    store = prepare(
        image_folder, tmp_path / "out", PrepareSettings(labels=image_folder / "labels.csv")
    )
    quarantine = pd.read_csv(store.path / "quarantine.csv")
    assert len(store) == 48
    assert quarantine["reason"].value_counts().to_dict() == {
        "missing": 30,
        "path leads out of the source folder": 1,
    }


def test_images_without_row_stay_unlabelled(image_folder, tmp_path):
    table = pd.read_csv(image_folder / "labels.csv", dtype=str)
    table[5:].to_csv(image_folder / "labels.csv", index=False)
    settings = PrepareSettings(labels=image_folder / "labels.csv", split="fold:test=0,val=1")
    store = prepare(image_folder, tmp_path / "out", settings)
    unknown = store.manifest[store.manifest["label.finding"].isna()]
    assert len(unknown) == 5
    assert (unknown["split"] == "train").all()
    assert (unknown["patient_id"] == "image:" + unknown["sample_id"]).all()
    assert (make_task(store, "finding").targets == -1).sum() == 5
