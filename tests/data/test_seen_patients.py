"""Runs keep whom they were trained on, and tests on the same patients are warned of or refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.data.seen_patients import check_patients, keep_patients, read_patients
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.patient_key import site_key
from support.table_store import store_of_table


def store_of(*patients: str, hashed_by: str | None = None) -> Store:
    store = store_of_table(pd.DataFrame({"patient_id": patients, "split": "test"}))
    store.patient_key = hashed_by
    return store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Pre-trained on a and b, trained with labels of c and d."""
    store = store_of("a", "a", "b", "c", "d", "e")
    encoder, tuned = tmp_path / "encoder", tmp_path / "tuned"
    keep_patients(encoder, store, np.array([0, 1, 2]), labelled=False)
    before = read_patients(encoder)
    keep_patients(tuned, store, np.array([3, 4]), labelled=True, before=before)
    return tuned


def check(run: Path, store: Store, *, allow_leakage: bool = False) -> None:
    seen = read_patients(run)
    check_patients("the run", seen, store, store.rows(), allow_leakage=allow_leakage)


def test_other_patients_raise_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(run, store_of("e", "f"))
    assert capsys.readouterr().err == ""


def test_labels_of_test_patients_are_an_error(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = store_of("c", "c", "f", "g")
    with pytest.raises(MedstrataError, match="with labels of 1 of the 3 test patients"):
        check(run, store)
    check(run, store, allow_leakage=True)
    assert "scores flatter" in capsys.readouterr().err


def test_images_of_test_patients_are_a_warning(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(run, store_of("a", "b", "f"))
    said = " ".join(capsys.readouterr().err.split())
    assert "pre-trained, without labels, on images of 2 of the 3 test patients" in said


def test_keys_that_differ_are_said(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check(run, store_of("c", hashed_by="12345678"))
    said = " ".join(capsys.readouterr().err.split())
    assert "the ids of one are hashes of DICOM ids" in said
    monkeypatch.setenv("MEDSTRATA_PATIENT_KEY", str(tmp_path / "another.key"))
    check(run, store_of("c"))
    said = " ".join(capsys.readouterr().err.split())
    assert "made with another site's patient key" in said


def test_no_id_and_no_key_is_written(run: Path) -> None:
    text = (run / "patients.json").read_text()
    key = site_key()
    assert key.secret.hex() not in text
    listed = json.loads(text)
    assert [one["labelled"] for one in listed] == [False, True]
    assert all(one["key"] == key.fingerprint for one in listed)
    assert set(listed[1]["hashes"]) == {key.hash("c"), key.hash("d")}


def test_a_weights_file_of_a_run_is_known(run: Path, tmp_path: Path) -> None:
    weights = run / "exported" / "backbone.safetensors"
    weights.parent.mkdir()
    weights.touch()
    assert read_patients(weights) == read_patients(run) != ()
    assert read_patients(None) == read_patients(tmp_path / "nowhere") == ()


def test_without_a_key_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDSTRATA_PATIENT_KEY", str(tmp_path))
    keep_patients(tmp_path / "run", store_of("a"), np.array([0]), labelled=False)
    assert "does not keep whom it was trained on" in " ".join(capsys.readouterr().err.split())
    assert read_patients(tmp_path / "run") == ()


def test_damage_is_one_line(run: Path) -> None:
    (run / "patients.json").write_text("[1]")
    with pytest.raises(MedstrataError, match=r"patients\.json is damaged"):
        read_patients(run)


def test_unknown_patients_cannot_be_ruled_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(run, store_of("f", "image:1", "image:2"))
    assert "of 2 of 3 test images of" in " ".join(capsys.readouterr().err.split())
    other = tmp_path / "other"
    keep_patients(other, store_of("image:9", "p"), np.array([0, 1]), labelled=False)
    check(other, store_of("f"))
    said = " ".join(capsys.readouterr().err.split())
    assert "cannot be ruled out: the patients of 1 images in" in said
