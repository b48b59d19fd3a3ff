"""A finished store is taken, refused or replaced; what cannot be read is set apart."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medstrata.data.prepare import shards
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import LINK_OUTSIDE
from medstrata.runtime.errors import MedstrataError
from support.dicom_files import make, written
from support.prepared import contents, read_grey


def test_finished_store_is_taken_as_it_is(image_folder, tmp_path, capsys, monkeypatch):
    first = prepare(image_folder, tmp_path / "out")
    before = contents(tmp_path / "out")
    monkeypatch.setattr(shards, "_decode", lambda *_: pytest.fail("decoded again"))
    again = prepare(image_folder, tmp_path / "out", PrepareSettings(max_quarantine=0.5), workers=1)
    assert "is ready" in capsys.readouterr().err
    assert again.digest == first.digest
    assert contents(tmp_path / "out") == before


def test_other_settings_or_files_are_refused_unless_told(image_folder, tmp_path):
    out = tmp_path / "out"
    first = prepare(image_folder, out, PrepareSettings(seed=1))
    with pytest.raises(MedstrataError, match="with other size, seed: give --overwrite"):
        prepare(image_folder, out, PrepareSettings(size=16))
    (image_folder / "images" / "site0" / "000.png").unlink()
    with pytest.raises(MedstrataError, match="with other files: give --overwrite"):
        prepare(image_folder, out, PrepareSettings(seed=1))
    (out / "notes.txt").write_text("mine")
    made = prepare(image_folder, out, PrepareSettings(seed=1), overwrite=True)
    assert len(made) == 47
    assert made.digest != first.digest
    assert (out / "notes.txt").read_text() == "mine"


def test_only_stores_are_overwritten(image_folder, tmp_path):
    for out in (tmp_path / "folder", tmp_path / "file"):
        if out.name == "folder":
            out.mkdir()
            (out / "thesis.tex").write_text("years of work")
        else:
            out.write_text("years of work")
        with pytest.raises(MedstrataError, match="is not a store: give another folder"):
            prepare(image_folder, out, overwrite=True)
    assert (tmp_path / "folder" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(MedstrataError, match="is not a store"):
        prepare(image_folder, image_folder, overwrite=True)


def damage(folder: Path) -> None:
    """Six files that cannot be read."""
    site = folder / "images" / "site0"
    whole = (site / "000.png").read_bytes()
    (site / "cut.png").write_bytes(whole[: len(whole) // 2])
    (site / "empty.png").write_bytes(b"")
    (site / "text.png").write_text("hello")
    cv2.imwrite(str(site / "flat.png"), np.zeros((9, 9), np.uint8))
    (site / "scan.dcm").write_bytes(b"\0" * 200)
    (site / "linked.png").symlink_to("/etc/hostname")
    (site / "linked_folder").symlink_to(folder.parent)
    (site / ".hidden.png").write_text("hidden")


def test_unreadable_files_are_set_apart_with_their_reason(image_folder, tmp_path, capsys):
    damage(image_folder)
    store = prepare(image_folder, tmp_path / "out", PrepareSettings(max_quarantine=0.2))
    table = pd.read_csv(store.path / "quarantine.csv")
    reasons = {Path(row.source).name: row.reason for row in table.itertuples()}
    assert reasons == {
        "cut.png": "truncated: Truncated File Read",
        "empty.png": "zero bytes",
        "text.png": "not an image",
        "flat.png": "constant image, every pixel 0",
        "scan.dcm": "DICOM without pixels",
        "linked.png": LINK_OUTSIDE,
        "linked_folder": "link to a folder, not followed",
    }
    assert len(store) == 48
    for row, source in enumerate(store.manifest["source"]):
        np.testing.assert_array_equal(store[row][2:18, :, 0], read_grey(image_folder / source))
    assert "7 images quarantined, see quarantine.csv" in capsys.readouterr().err


def test_too_many_unreadable_files_stop_and_a_higher_share_goes_on(
    image_folder, tmp_path, monkeypatch
):
    damage(image_folder)
    with pytest.raises(MedstrataError) as caught:
        prepare(image_folder, tmp_path / "out")
    line = str(caught.value)
    assert line.startswith("7 of 55 images (12.7%) could not be read, more than 10.0%: see ")
    assert line.endswith("--max-quarantine 0.128")
    assert str(tmp_path / "out" / "quarantine.csv") in line
    monkeypatch.setattr(shards, "_decode", lambda *_: pytest.fail("decoded again"))
    assert len(prepare(image_folder, tmp_path / "out", PrepareSettings(max_quarantine=0.128))) == 48


def test_share_of_unreadable_files_may_be_reached(image_folder, tmp_path):
    for number in range(12):
        (image_folder / f"{number}.png").write_bytes(b"")
    assert (
        len(prepare(image_folder, tmp_path / "out", PrepareSettings(max_quarantine=12 / 60))) == 48
    )


def test_odd_metadata_is_no_reason_to_lose_an_image(image_folder, tmp_path, recwarn):
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(image_folder / "odd.jpg", exif=exif)
    assert len(prepare(image_folder, tmp_path / "out")) == 49
    assert not recwarn.list


def test_nothing_to_read(tmp_path, image_folder):
    with pytest.raises(MedstrataError, match="does not exist"):
        prepare(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedstrataError, match="no images that can be read in"):
        prepare(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "empty" / "a.svs").write_text("x")
    with pytest.raises(MedstrataError, match=r"no images.*a\.svs: unsupported format \.svs"):
        prepare(tmp_path / "empty", tmp_path / "out")
    for path in image_folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(MedstrataError, match=r"none of the 48 images .*zero bytes"):
        prepare(image_folder, tmp_path / "out")
    with pytest.raises(MedstrataError, match="none of the 48 images could be read"):
        prepare(
            image_folder, tmp_path / "out", PrepareSettings(size=16, channels=1, max_quarantine=1.0)
        )


@pytest.mark.parametrize("split", ["0.5/0.5", "1..0/0/0", "fold"])
def test_unusable_splits_are_refused_before_decoding(image_folder, tmp_path, split, monkeypatch):
    monkeypatch.setattr(shards, "_decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(MedstrataError):
        prepare(image_folder, tmp_path / "out", PrepareSettings(split=split))
    with pytest.raises(MedstrataError, match=r"none\.csv is missing"):
        prepare(image_folder, tmp_path / "out", PrepareSettings(labels="none.csv"))
    with pytest.raises(MedstrataError, match="workers 0 must be 1 or more"):
        prepare(image_folder, tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_grey_store_counts_the_colour_it_drops(image_folder, tmp_path, capsys):
    colour = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(image_folder / "images" / "colour.png"), colour)
    store = prepare(image_folder, tmp_path / "grey", PrepareSettings(channels=1))
    assert "1 colour images were made grey" in capsys.readouterr().err
    row = store.manifest.set_index("sample_id").loc["images/colour"]
    assert (row["source_channels"], row["conversion"]) == (3, "colour to grey")
    assert prepare(image_folder, tmp_path / "colour").channels == 3


def test_reports_and_presentations_are_no_unreadable_images(tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 4096, (16, 16)).astype(np.uint16)
        data = written(make(pixels, PatientID=f"P{number}"))
        (tmp_path / "scans" / f"{number}.dcm").write_bytes(data)
        report = make(pixels, Modality=("SR", "PR", "KO")[number % 3])
        del report.PixelData, report.Rows, report.Columns
        (tmp_path / "scans" / f"r{number}.dcm").write_bytes(written(report))
    assert len(prepare(tmp_path / "scans", tmp_path / "out")) == 10
    assert "no picture" in capsys.readouterr().err
    for number in range(3):  # an image that has lost its pixels is one to mend
        lost = make(pixels, Modality="CT")
        del lost.PixelData
        (tmp_path / "scans" / f"lost{number}.dcm").write_bytes(written(lost))
    with pytest.raises(MedstrataError, match=r"3 of 13 images \(23\.1%\) could not be read"):
        prepare(tmp_path / "scans", tmp_path / "again")


def test_a_store_is_made_by_one_process_at_a_time(image_folder, tmp_path):
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from medstrata.runtime.lock import locked\n"
        f"with locked(Path({str(out / 'parts')!r})): print(flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout.readline()
        for overwrite in (False, True):
            with pytest.raises(MedstrataError, match=rf"in use by process {other.pid} on") as e:
                prepare(image_folder, out, overwrite=overwrite)
            assert str(e.value).startswith(f"{out} is in use")
        other.stdin.close()
    store = prepare(image_folder, out)  # which goes on where nothing was begun
    assert not (out / "parts").exists()
    assert not [path.name for path in out.iterdir() if path.name.startswith("run")]
    assert len(prepare(image_folder, out)) == len(store)


def test_overwriting_begins_anew(image_folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = prepare(image_folder, out, PrepareSettings(size=16)).digest
    (out / "images-00007.npy").touch()
    assert prepare(image_folder, out, PrepareSettings(size=24), overwrite=True).digest != first
    assert not (out / "images-00007.npy").exists()
    monkeypatch.setattr("medstrata.data.prepare.prepare.assemble", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(image_folder, tmp_path / "begun")
    monkeypatch.undo()
    part = tmp_path / "begun" / "parts" / "00000.parquet"
    part.write_bytes(b"spoilt")
    prepare(image_folder, tmp_path / "begun", overwrite=True)
