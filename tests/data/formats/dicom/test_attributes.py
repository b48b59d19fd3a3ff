"""No name that a DICOM file holds reaches a store, a message or the terminal."""

import hashlib
import itertools
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate

from medstrata.data.formats.dicom.attributes import FACTS, fact
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.open import open_store
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.patient_key import PatientKey, site_key
from support.dicom_files import make, written

# Of one length, so that one can stand for another in a file's bytes.
SECRETS = (
    *("Quimby^Zacharias", "PID-77310045-QZX", "Sunnydale Mercy!", "Operatrix^Ottile"),
    *("Private note QZX", "Referrer^Rosalia", "19370418", "9.8.7.6.5.4.3210", "QUIMBY ZACHARIAS"),
)


def full_of_names(patient: str, seed: int):
    pixels = np.random.default_rng(seed).integers(0, 4000, (16, 16)).astype(np.uint16)
    dataset = make(
        pixels,
        Modality="CR",
        PatientName=SECRETS[0],
        PatientID=patient,
        InstitutionName=SECRETS[2],
        OperatorsName=SECRETS[3],
        ReferringPhysicianName=SECRETS[5],
        PatientBirthDate=SECRETS[6],
        StudyDate=SECRETS[6],
        StudyInstanceUID=SECRETS[7],
        SeriesInstanceUID=SECRETS[7] + ".1",
        AccessionNumber=SECRETS[1],
        BodyPartExamined=SECRETS[8],
        ViewPosition=SECRETS[8],
        PatientOrientation=[SECRETS[8], SECRETS[8]],
        ImageLaterality=SECRETS[8],
        BurnedInAnnotation=SECRETS[8],
        PresentationIntentType=SECRETS[8],
        LossyImageCompression=SECRETS[8],
        StudyDescription=SECRETS[0],
        ImageComments=SECRETS[4],
        WindowCenter=2000,
        WindowWidth=4000,
        WindowCenterWidthExplanation=SECRETS[0],
        Manufacturer="SIEMENS" if seed % 2 else SECRETS[8],
        ManufacturerModelName=SECRETS[4],
    )
    block = dataset.private_block(0x000B, SECRETS[4], create=True)
    block.add_new(1, "LO", SECRETS[0])
    return dataset


def spoilt_files() -> list[bytes]:
    """Files that are refused for many reasons, each with a name where the trouble is."""
    secret, files = SECRETS[8], []
    for name, value in (
        ("Modality", secret),
        ("PhotometricInterpretation", secret),
        ("VOILUTFunction", secret),
        ("SOPClassUID", SECRETS[7]),
        ("PixelSpacing", None),
    ):
        dataset = full_of_names(SECRETS[1], 5)
        setattr(dataset, name, value)
        files.append(written(dataset))
        del dataset.Rows
        files.append(written(dataset))
    dataset = full_of_names(SECRETS[1], 5)  # whose photometric interpretation no decoder checks
    dataset.PhotometricInterpretation = secret
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
    pixels = np.frombuffer(dataset.PixelData, np.uint16).reshape(16, 16)
    dataset.PixelData = encapsulate([imagecodecs.jpeg8_encode(pixels, lossless=True)])
    dataset["PixelData"].is_undefined_length = True
    files.append(written(dataset))
    whole = written(full_of_names(SECRETS[1], 5))
    # Numbers and sizes that are text: what a parser complains of, it tends to quote.
    for tag in (b"\x28\x00\x10\x00US", b"\x28\x00\x01\x01US", b"\x28\x00\x50\x10DS",
                b"\x08\x00\x60\x00CS", b"\x02\x00\x10\x00UI"):  # fmt: skip
        place = whole.index(tag)
        name = secret.encode()
        files.append(whole[:place] + tag[:4] + b"LO\x10\0" + name + whole[place + 8 :])
        files.append(whole[: place + 6] + b"\x10\0" + name + whole[place + 8 :])
        files.append(whole[: place + 8] + name[:2] + whole[place + 10 :])
    files += [whole[:length] for length in range(300, len(whole), 60)]
    return files


def secrets_in(data: bytes) -> list[str]:
    lower = data.lower()
    found = (secret.lower() for secret in SECRETS)
    return [secret for secret in found if secret.encode() in lower or secret[:6].encode() in lower]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for number in range(24):
        patient = f"{SECRETS[1][:-2]}{number // 4:02d}"
        (folder / f"{number:02d}.dcm").write_bytes(written(full_of_names(patient, number)))
    for number, data in enumerate(spoilt_files()):
        (folder / f"spoilt{number:02d}.dcm").write_bytes(data)
    return folder


def prepare_by_command(folder: Path, out: Path, *options: str) -> bytes:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "medstrata", "prepare", str(folder), "--out", str(out)),
            *("--max-quarantine", "1", *options),
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_no_name_in_store_or_log(folder, tmp_path):
    assert secrets_in(b"of QUIMBY")  # the search works
    out = tmp_path / "out"
    log = prepare_by_command(folder, out, "--frames", "all")
    assert secrets_in(log) == []
    store = open_store(out)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "audit.json", "images-00000.npy", "manifest.parquet", "preview.png", "quarantine.csv",
        "store.json",
    }  # fmt: skip
    assert secrets_in(store.manifest.to_csv().encode()) == []
    for path in files:
        assert secrets_in(path.read_bytes()) == [], path.name
    assert "salt" not in (out / "store.json").read_text()
    assert {"dicom.Modality", "dicom.Manufacturer"} < set(store.manifest.columns)
    dicom = {name for name in store.manifest.columns if name.startswith("dicom.")}
    assert dicom <= {f"dicom.{name}" for name in FACTS}


def test_no_name_where_nothing_can_be_read(tmp_path):
    (tmp_path / "spoilt").mkdir()
    for number, data in enumerate(spoilt_files()[-9:]):
        (tmp_path / "spoilt" / f"{number}.dcm").write_bytes(data[: len(data) // 2])
    for options in ((), ("--debug", "--frames", "all"), ("--window", "lung")):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "medstrata", "prepare", str(tmp_path / "spoilt")),
                *("--out", str(tmp_path / "none"), *options),
            ],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1
        assert secrets_in(done.stdout + done.stderr) == []


def test_patients_are_hashed_with_the_key_of_the_site(folder, tmp_path, monkeypatch):
    good = tmp_path / "good"
    good.mkdir()
    for number in range(24):
        (good / f"{number:02d}.dcm").write_bytes((folder / f"{number:02d}.dcm").read_bytes())
    first, again = (prepare(good, tmp_path / name) for name in ("first", "again"))
    key = site_key()
    monkeypatch.setenv("MEDSTRATA_PATIENT_KEY", str(tmp_path / "elsewhere.key"))
    elsewhere = prepare(good, tmp_path / "elsewhere")
    for store in (first, again, elsewhere):
        table = store.manifest.assign(
            patient=[int(name[:2]) // 4 for name in store.manifest.source]
        )
        assert (table.groupby("patient")["patient_id"].nunique() == 1).all()
        assert table["patient_id"].nunique() == 6
        assert table["patient_id"].str.fullmatch("[0-9a-f]{16}").all()
        assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert first.digest == again.digest
    assert first.patient_key == again.patient_key == key.fingerprint != elsewhere.patient_key
    other = prepare(good, tmp_path / "other", PrepareSettings(size=12))
    hashes = [set(store.manifest["file_hash"]) for store in (first, elsewhere, other)]
    assert [len(some) for some in hashes] == [24, 24, 24]
    assert not any(some & more for some, more in itertools.combinations(hashes, 2))
    assert set(again.manifest["file_hash"]) == hashes[0]  # the same store
    plain = {hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in good.iterdir()}
    assert not plain & set(first.manifest.astype(str).to_numpy().ravel())
    assert not set(first.manifest.patient_id) & set(elsewhere.manifest.patient_id)
    for path in first.path.rglob("*"):
        assert key.secret not in path.read_bytes()
        assert key.secret.hex().encode() not in path.read_bytes()


def test_a_prepare_that_fails_leaves_no_key_behind(folder, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    for number in range(6):
        (bad / f"{number}.dcm").write_bytes((folder / f"{number:02d}.dcm").read_bytes())
        (bad / f"empty{number}.png").touch()
    with pytest.raises(MedstrataError, match="could not be read"):
        prepare(bad, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert "00000.parquet" in {path.name for path in files}
    plain = [hashlib.sha256(path.read_bytes()).hexdigest()[:32] for path in bad.iterdir()]
    for path in files:
        data = path.read_bytes()
        assert site_key().secret not in data
        assert not any(one.encode() in data for one in plain)


def test_a_file_without_a_patient_needs_no_key(image_folder, tmp_path, monkeypatch):
    (tmp_path / "wall").touch()
    monkeypatch.setenv("MEDSTRATA_PATIENT_KEY", str(tmp_path / "wall" / "key"))
    assert prepare(image_folder, tmp_path / "out").manifest["file_hash"].isna().all()


@pytest.mark.parametrize(
    ("name", "known", "other"),
    [
        (
            "Manufacturer",
            ("SIEMENS Healthineers", "GE MEDICAL SYSTEMS", "Konica-Minolta, Inc.", "Agfa-Gevaert"),
            ("ZzqpfxMAKER", "SIEMENS QUIMBY", "Quimby^Zacharias", "19370418"),
        ),
        (
            "ManufacturerModelName",
            ("SOMATOM Definition AS+", "Discovery CT750 HD", "Aquilion ONE", "DRX-Evolution"),
            ("77310045", "CT750", "Discovery 77310045", "Discovery of Quimby", "PET"),
        ),
    ],
)
def test_makers_and_models_are_known_ones(name, known, other):
    dataset = make(np.zeros((4, 4), np.uint8))
    for text in (*known, *other):
        setattr(dataset, name, text)
        assert fact(dataset, name) == (text if text in known else "")


def test_a_store_is_not_finished_with_another_key(folder, tmp_path, monkeypatch):
    good, out = tmp_path / "good", tmp_path / "out"
    good.mkdir()
    for number in range(6):
        (good / f"{number}.dcm").write_bytes((folder / f"{number:02d}.dcm").read_bytes())
    # The first file's own hash and its patient's.
    keys = itertools.chain([PatientKey(b"1" * 32)] * 2, itertools.repeat(PatientKey(b"2" * 32)))
    monkeypatch.setattr("medstrata.data.prepare.shards.site_key", lambda: next(keys))
    with pytest.raises(MedstrataError, match="begun with another patient key"):
        prepare(good, out, workers=1)


def test_facts_are_terms_and_numbers():
    dataset = make(np.zeros((4, 4), np.uint8))
    dataset.Modality, dataset.BodyPartExamined = "CT", "T_SPINE"
    dataset.PatientOrientation, dataset.PixelSpacing = ["L", "FP"], [0.5, "0.25"]
    assert fact(dataset, "Modality") == "CT"
    assert fact(dataset, "BodyPartExamined") == "T_SPINE"
    assert fact(dataset, "PatientOrientation") == "L\\FP"
    assert fact(dataset, "PixelSpacing") == "0.5\\0.25"
    dataset.BodyPartExamined = "CHEST OF MEIER"
    assert fact(dataset, "BodyPartExamined") == ""
    assert fact(dataset, "ViewPosition") == ""
