"""The audit of a store: what it finds, where it is written, and when it stops a command."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import medstrata
from medstrata.cli.main import main
from medstrata.data.audit import duplicates
from medstrata.data.audit.audit import Audit, audit, read_audit, say_findings
from medstrata.data.audit.findings import Finding
from medstrata.data.prepare import manifest, prepare
from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support.audited import prepared, write_images
from support.resealed import reseal


def copy_as_jpeg(folder: Path, source: str, target: str) -> None:
    pixels = cv2.imread(str(folder / "images" / source), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(folder / "images" / target), pixels, [cv2.IMWRITE_JPEG_QUALITY, 70])


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Patient 0 (train) and 6 (test) share one image as a JPEG, 1 (train) and 5 (val) one file."""
    folder = tmp_path / "data"
    table = write_images(folder)
    (folder / "images" / "06_0.png").unlink()
    copy_as_jpeg(folder, "00_0.png", "06_0.jpg")
    table.loc[table["file"] == "06_0.png", "file"] = "06_0.jpg"
    shutil.copy(folder / "images" / "01_1.png", folder / "images" / "04_1.png")
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def run(*words: str | Path) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_leakage_fails_the_commands_unless_allowed(leaking, tmp_path, capsys, monkeypatch):
    out = tmp_path / "s.store"
    words = ("prepare", leaking / "images", "--labels", leaking / "labels.csv", "--split", "split")
    assert run(*words, "--out", out) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("medstrata prepare: leakage: 2 pairs of equal or near-identical images")
    assert "00_0 (train) and 06_0 (test)" in line
    assert line.endswith("or go on with --allow-leakage")
    assert len(open_store(out)) == 90
    # The store is whole, so allowing it looks at nothing anew.
    monkeypatch.setattr(prepare, "audit", lambda *_, **__: pytest.fail("audited again"))
    assert run(*words, "--out", out) == 1
    assert run(*words, "--out", out, "--allow-leakage") == 0
    assert run("audit", out) == 1
    assert "medstrata audit: leakage: 2 pairs" in capsys.readouterr().err.splitlines()[-1]
    assert run("audit", out, "--allow-leakage", "--task", "finding", "--fractions", "[0.5]") == 0
    facts = json.loads((out / "audit.json").read_text())
    assert list(facts["labels"]["finding"]["fractions"]) == ["0.5"]


def test_audit_json_holds_what_is_there(leaking, tmp_path):
    store = prepared(leaking, tmp_path / "s.store", split="split", allow_leakage=True)
    text = (store.path / "audit.json").read_text()
    facts = json.loads(text)
    assert facts["leakage"] == {
        "patients": 0,
        "pairs": 2,
        "images": 4,
        "patient_examples": [],
        "examples": [["00_0", "train", "06_0", "test"], ["01_1", "train", "04_1", "val"]],
    }
    copies = facts["duplicates"]
    assert (copies["exact_groups"], copies["exact_images"], copies["near_pairs"]) == (1, 2, 1)
    assert (copies["exact_between_patients"], copies["near_between_patients"]) == (1, 1)
    assert copies["near_examples"][0][:4] == ["00_0", "train", "06_0", "test"]
    conflict = {"label": "finding", "pairs": 1, "examples": [["01_1", "1", "04_1", "0"]]}
    assert facts["label_conflicts"] == [conflict]
    table = store.manifest
    label = facts["labels"]["finding"]
    for split, counts in label["splits"].items():
        part = table[table["split"] == split]
        per_class = part["label.finding"].value_counts()
        assert counts["per_class"] == {"0": per_class[0], "1": per_class[1]}
        assert counts["patients"] == part["patient_id"].nunique()
    assert label["fractions"]["1"]["images"] == (table["split"] == "train").sum()
    assert label["patients_of_several_classes"] == 0
    forms = facts["forms"]["splits"]
    assert forms["test"]["formats"] == {"JPEG": 1, "PNG": forms["test"]["images"] - 1}
    assert forms["train"]["width"] == [64.0] * 5
    assert {one["cue"] for one in facts["shortcuts"]} == {"size", "format", "intensity", "border"}
    assert facts["findings"][0]["level"] == "leakage"
    assert str(tmp_path) not in text
    assert ".png" not in text


def test_audit_is_the_same_twice_and_of_its_store(leaking, tmp_path, monkeypatch):
    store = prepared(leaking, tmp_path / "s.store", split="split", allow_leakage=True)
    first = (store.path / "audit.json").read_bytes()
    reads, read = [], Store._read

    def counted(self, names):
        reads.extend(names)
        return read(self, names)

    monkeypatch.setattr(Store, "_read", counted)
    found = medstrata.audit(open_store(store.path), allow_leakage=True)
    # Each label by itself took minutes of a table that has thousands.
    assert not [name for name in reads if name.startswith("label.")]
    assert (store.path / "audit.json").read_bytes() == first
    assert read_audit(store) == found
    assert found.leakage
    other = json.loads(first) | {"store_digest": "another"}
    (store.path / "audit.json").write_text(json.dumps(other))
    assert read_audit(store) is None
    (store.path / "audit.json").write_text("{")
    assert read_audit(store) is None


def test_python_raises_after_writing(leaking, tmp_path):
    with pytest.raises(MedstrataError, match="leakage: 2 pairs"):
        prepared(leaking, tmp_path / "s.store", split="split")
    assert (tmp_path / "s.store" / "audit.json").is_file()
    with pytest.raises(MedstrataError, match="leakage: 2 pairs"):
        audit(open_store(tmp_path / "s.store"))
    with pytest.raises(ValueError, match="at most 1, got 3"):
        audit(open_store(tmp_path / "s.store"), fractions=[0.5, 3])


@pytest.mark.parametrize("seed", range(4))
def test_drawn_splits_keep_copies_together(leaking, tmp_path, seed, capsys):
    store = prepared(leaking, tmp_path / "s.store", seed=seed)
    split = store.manifest.set_index("patient_id")["split"].groupby(level=0).first()
    assert split["p0"] == split["p6"]
    assert split["p1"] == split["p4"]
    assert set(split) == {"train", "val", "test"}
    assert "are kept in one split: 2 joined to another" in " ".join(capsys.readouterr().err.split())
    # The patients themselves stay what they are.
    assert store.manifest["patient_id"].nunique() == 30


def test_drawn_splits_would_tear_copies_otherwise(leaking, tmp_path, monkeypatch):
    """The test above can fail: some seed puts the copies into two splits."""
    monkeypatch.setattr(manifest, "_bound", lambda patient_ids, _: patient_ids)
    torn = 0
    for seed in range(4):
        try:
            prepared(leaking, tmp_path / f"{seed}.store", seed=seed)
        except MedstrataError:
            torn += 1
    assert torn


def test_torn_patients_are_leakage(leaking, tmp_path):
    store = prepared(leaking, tmp_path / "s.store", allow_leakage=True)
    table = store.manifest.copy()
    row = table.index[table["patient_id"] == "p9"][0]
    table.loc[row, "split"] = "val" if table.loc[row, "split"] == "train" else "train"
    table.to_parquet(store.path / "manifest.parquet", index=False)
    reseal(store.path)
    with pytest.raises(MedstrataError, match=r"leakage: 1 patient in two splits \(p9\)"):
        audit(open_store(store.path))


def test_clean_store_has_no_leakage(tmp_path, capsys):
    table = write_images(tmp_path / "data", patients=12)
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    store = prepared(tmp_path / "data", tmp_path / "s.store", split="0.5/0.25/0.25")
    assert not read_audit(store).leakage
    assert "leakage" not in capsys.readouterr().err


def test_store_without_labels(tmp_path):
    write_images(tmp_path / "data", patients=4)
    store = medstrata.prepare(tmp_path / "data" / "images", tmp_path / "s.store")
    facts = read_audit(store).facts
    assert facts["labels"] == {}
    assert facts["shortcuts"] == []
    assert facts["overlaps"]["images"] == 0


def test_brightness_that_is_the_label_is_a_strong_shortcut(tmp_path):
    table = write_images(tmp_path / "data", patients=40, images=1)
    for row in table.itertuples():
        path = str(tmp_path / "data" / "images" / row.file)
        cv2.imwrite(path, cv2.imread(path, cv2.IMREAD_GRAYSCALE) // 2 + 100 * row.finding)
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    store = prepared(tmp_path / "data", tmp_path / "s.store")
    rows = {one["cue"]: one for one in read_audit(store).facts["shortcuts"]}
    assert rows["intensity"]["verdict"] == "strong shortcut"
    assert rows["intensity"]["auroc"]["value"] > 0.99
    assert rows["size"]["verdict"] == "does not vary"
    assert any("strong shortcut by intensity" in one.what for one in read_audit(store).findings)


def test_site_that_tells_the_label_is_a_strong_shortcut(tmp_path):
    table = write_images(tmp_path / "data", patients=40, images=1)
    table["hospital"] = np.where(table["finding"] == 1, "north", "south")
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    store = prepared(tmp_path / "data", tmp_path / "s.store", site_column="hospital")
    rows = {one["cue"]: one for one in read_audit(store).facts["shortcuts"]}
    assert rows["site"]["auroc"]["value"] == 1
    assert rows["site"]["verdict"] == "strong shortcut"


def test_giant_groups_are_said(leaking, tmp_path, monkeypatch, capsys):
    bound = duplicates.link_patients
    monkeypatch.setattr(manifest, "link_patients", lambda *images: (bound(*images)[0], True))
    prepared(leaking, tmp_path / "s.store", allow_leakage=True)
    assert "chain more than 5 % of the images" in " ".join(capsys.readouterr().err.split())


def test_of_many_findings_the_first_are_said(capsys):
    notes = [Finding("note", f"note {number}") for number in range(30)]
    say_findings(Audit({}, (Finding("caution", "a caution"), *notes)), Path("s.store"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: audit: a caution"
    assert lines[1] == "audit: note 0"
    assert lines[20:22] == ["audit: note 19", "audit: 10 more of this kind in audit.json"]
