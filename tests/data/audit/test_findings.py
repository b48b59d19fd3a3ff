"""Findings of an audit in words."""

import numpy as np

from medstrata.data.audit.audit import read_audit
from support.audited import prepared, write_images


def test_one_patient_that_holds_a_class_is_named(tmp_path):
    table = write_images(tmp_path / "data", patients=16, images=4)
    table["split"] = np.where(table["patient_id"].isin(["p1", "p3", "p0"]), "test", "train")
    table.loc[table["patient_id"].isin(["p5", "p6"]), "split"] = "val"
    table.loc[table["patient_id"] == "p0", "finding"] = 1
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    store = prepared(tmp_path / "data", tmp_path / "s.store", split="split")
    said = [one.what for one in read_audit(store).findings]
    held = "one patient holds 4 of the 12 test images of class 1, which are of 3 patients"
    assert f"label finding: {held}" in said
    assert any(
        text.startswith("label finding: no image in test of 0: draw otherwise with")
        for text in said
    )


def test_a_class_that_is_never_trained_on_is_named(tmp_path):
    table = write_images(tmp_path / "data", patients=16, images=4)
    table["split"] = "train"
    table.loc[table["patient_id"].isin(["p3", "p4"]), "split"] = "test"
    table["kind"] = np.where(table["patient_id"] == "p3", 2, np.arange(len(table)) % 2)
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    store = prepared(tmp_path / "data", tmp_path / "s.store", split="split")
    said = [one.what for one in read_audit(store).findings]
    assert any(one.startswith("label kind: no image in train of 2: nothing can") for one in said)
