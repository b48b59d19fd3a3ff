"""Patients from tables, paths and DICOM files brought together."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.patients import join_patients, patients_of_paths
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.patient_key import site_key
from support.dicom_files import make, written


def text(*values):
    return pd.Series([value or pd.NA for value in values], dtype="string")


def joined(named, hashed, numbers=None):
    names = text(*(f"f{number}" for number in range(len(named))))
    numbers = text(*(numbers or hashed))
    return join_patients(text(*named), text(*hashed), numbers, names).tolist()


def test_files_with_both_ids_bring_the_others_along():
    ids = joined(["A", None, "B", None, None, None], ["x", "x", "y", "y", "z", None])
    assert ids == ["A", "A", "B", "B", "z", "image:f5"]


def test_an_id_of_either_kind_makes_one_patient(capsys):
    # A and B share DICOM id x, and B has another one, too, which C's second image has.
    ids = joined(["A", "B", "B", None, "D"], ["x", "x", "y", "y", None])
    assert ids == ["A", "A", "A", "A", "D"]
    assert "1 patients of the table have a DICOM patient id that another has" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_dicom_id_beside_many_names_is_nobodys(capsys):
    names = [f"p{number}" for number in range(8)]
    assert joined([*names, None], ["x"] * 9) == [*names, "image:f8"]
    said = " ".join(capsys.readouterr().err.split())
    assert "stands beside 8 of the table, so it names nobody: 9 images" in said


def test_a_table_meets_a_dicom_id_of_the_same_text():
    same, other = (site_key().hash(f"\0{one}") for one in ("P1", "P2"))
    assert joined(["P1", None, None], [None, same, other]) == ["P1", "P1", other]


def test_a_file_without_an_issuer_is_of_the_patient_whom_others_issue(capsys):
    # x and y are the same id by two issuers, n the id without one.
    nobody = [None] * 3
    assert joined(nobody, ["x", "n", "z"], ["n", "n", "m"]) == ["n", "n", "z"]
    assert joined(nobody, ["x", "y", "z"], ["n", "n", "m"]) == ["x", "y", "z"]
    assert capsys.readouterr().err == ""
    assert joined(nobody, ["x", "y", "n"], ["n", "n", "n"]) == ["n", "n", "n"]
    said = " ".join(capsys.readouterr().err.split())
    assert "1 patient ids of DICOM files have several issuers, and files without one" in said
    number = site_key().hash("\0P1")  # a table's id meets the one that has an issuer
    assert joined(["P1", None, None], [None, "x", "z"], [None, number, "m"]) == ["P1", "P1", "z"]


def test_an_issuer_in_some_files_divides_nobody(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 4095, (16, 16)).astype(np.uint16)
        issuer = {"IssuerOfPatientID": "HOSPITAL"} if number % 2 else {}
        data = written(make(pixels, PatientID=f"P{number // 4}", **issuer))
        (tmp_path / "in" / f"{number:02d}.dcm").write_bytes(data)
    manifest = prepare(tmp_path / "in", tmp_path / "out", PrepareSettings(seed=1)).manifest
    assert manifest["patient_id"].nunique() == 6
    assert (manifest.groupby("patient_id")["split"].nunique() == 1).all()


def test_stand_ins_never_meet_an_id():
    names = pd.Series(["3", "4"], dtype="string")
    assert join_patients(text(None, "3"), text(None, None), text(None, None), names).tolist() == [
        "image:3",
        "3",
    ]


@pytest.fixture
def scans(tmp_path):
    """90 DICOM files of 30 patients, three each."""
    (tmp_path / "scans").mkdir()
    generator = np.random.default_rng(0)
    for number in range(90):
        pixels = generator.integers(0, 4096, (16, 16)).astype(np.uint16)
        # One of the stations writes more blanks.
        patient = f"P{' ' * (1 + (number % 3 == 2))}{number // 3:03d}"
        data = written(make(pixels, PatientID=patient))
        (tmp_path / "scans" / f"{number:03d}.dcm").write_bytes(data)
    return tmp_path / "scans"


def test_a_table_of_part_of_a_dicom_folder_divides_nobody(scans, tmp_path, capsys):
    third = range(0, 90, 3)
    pd.DataFrame(
        {
            "file": [f"{number:03d}.dcm" for number in third],
            "patient_id": [f"P {number // 3:03d}" for number in third],
            "finding": [number // 3 % 2 for number in third],
        }
    ).to_csv(tmp_path / "third.csv", index=False)
    store = prepare(scans, tmp_path / "s", PrepareSettings(labels=tmp_path / "third.csv"))
    true = store.manifest["sample_id"].astype(int) // 3
    assert store.manifest.groupby(true)["split"].nunique().max() == 1
    assert store.manifest["patient_id"].tolist() == [f"P {number:03d}" for number in true]
    assert store.patient_key is None
    said = capsys.readouterr().err
    assert "90 images of 30 patients" in said
    assert "unknown," not in said


def test_dicom_patients_need_no_table(scans, tmp_path, capsys):
    pd.DataFrame(
        {
            "file": [f"{number:03d}.dcm" for number in range(90)],
            "finding": [number % 2 for number in range(90)],
        }
    ).to_csv(tmp_path / "labels.csv", index=False)
    store = prepare(scans, tmp_path / "s", PrepareSettings(labels=tmp_path / "labels.csv"))
    said = capsys.readouterr().err
    assert "90 images of 30 patients" in said
    assert "of its own" not in said
    assert store.patient_key == site_key().fingerprint


def write_pngs(folder, names):
    generator = np.random.default_rng(1)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), generator.integers(0, 256, (16, 16), dtype=np.uint8))


@pytest.mark.parametrize("written_as", [" P{:03d}", "P{:03d}\u00a0", "P{:03d}\u200b", "P{:03d}\t "])
def test_a_split_column_that_divides_a_patient_is_seen_however_it_is_written(tmp_path, written_as):
    write_pngs(tmp_path / "images", [f"{number}.png" for number in range(24)])
    ids = [(written_as if number % 2 else "P{:03d}").format(number // 2) for number in range(24)]
    pd.DataFrame(
        {
            "file": [f"{number}.png" for number in range(24)],
            "patient_id": ids,
            "split": ["train", "test"] * 12,
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    settings = PrepareSettings(labels=tmp_path / "t.csv", split="split", label_columns=[])
    with pytest.raises(MedstrataError, match="puts 12 patients in two splits"):
        prepare(tmp_path / "images", tmp_path / "s", settings)


def test_missing_ids_are_counted_and_meet_no_real_one(tmp_path, capsys):
    write_pngs(tmp_path / "images", [f"{number}.png" for number in range(24)])
    pd.DataFrame(
        {
            "file": [f"{number}.png" for number in range(24)],
            "patient_id": ["" if number % 2 else str(number // 2) for number in range(24)],
            "split": ["test" if number % 4 == 3 else "train" for number in range(24)],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    settings = PrepareSettings(labels=tmp_path / "t.csv", split="split", label_columns=[])
    store = prepare(tmp_path / "images", tmp_path / "s", settings)
    assert store.manifest["patient_id"].nunique() == 24
    said = " ".join(capsys.readouterr().err.split())
    assert "24 images: 12 of 12 patients, 12 of unknown patients" in said
    assert "patients of 12 of 24 images are unknown (train 6, test 6)" in said
    assert "no copies, leakage" not in said
    facts = json.loads((store.path / "audit.json").read_text())
    assert facts["unknown_patients"]["images"] == 12
    header = json.loads((store.path / "store.json").read_text())
    assert header["splits"]["test"] == {"images": 6, "patients": 0, "unknown_patients": 6}


def test_frames_of_a_file_stay_together_where_its_patient_is_unknown(tmp_path):
    (tmp_path / "volumes").mkdir()
    generator = np.random.default_rng(2)
    for number in range(12):
        pages = [generator.integers(0, 256, (16, 16), dtype=np.uint8) for _ in range(5)]
        cv2.imwritemulti(str(tmp_path / "volumes" / f"{number}.tiff"), pages)
    store = prepare(tmp_path / "volumes", tmp_path / "s", PrepareSettings(frames="all"))
    file = store.manifest["source"].str.partition("#")[0]
    assert len(store) == 60
    assert store.manifest.groupby(file)["split"].nunique().max() == 1


def test_patients_from_paths(tmp_path, capsys):
    names = [f"site{n % 2}/pat-{n // 2}/{n}.png" for n in range(24)]
    write_pngs(tmp_path / "images", names)
    settings = PrepareSettings(patient_from=r"pat-(\d+)/")
    store = prepare(tmp_path / "images", tmp_path / "s", settings)
    assert sorted(set(store.patient_ids), key=int) == [str(number) for number in range(12)]
    assert "24 images of 12 patients" in capsys.readouterr().err


def test_a_pattern_that_finds_nobody_is_refused():
    with pytest.raises(MedstrataError, match=r"--patient-from P\\d finds no patient in any of 2"):
        patients_of_paths(text("a/1.png", "b/2.png"), r"P\d")
    assert patients_of_paths(text("a/1.png", "b/2.png"), r"\d").tolist() == ["1", "2"]
    with pytest.raises(ValueError, match="no regular expression"):
        PrepareSettings(patient_from="(")
    with pytest.raises(ValueError, match="leave one out"):
        PrepareSettings(patient_from="a", patient_column="b")
