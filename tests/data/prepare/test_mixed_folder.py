"""A folder of all that goes wrong is prepared by the command, which says what it left out."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from pydicom.uid import EncapsulatedPDFStorage

from medstrata.data.formats.refusals import ImageError
from medstrata.data.sources import LINK_OUTSIDE, from_folder
from medstrata.data.store.open import open_store
from support.dicom_files import make, written
from support.read_one import read_image
from support.waiting import PATIENCE_S

GENERATOR = np.random.default_rng(13)


def bomb() -> bytes:
    """A valid header of 100,000 x 100,000 pixels, and a little deflated nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def encapsulated_pdf() -> bytes:
    dataset = make(np.zeros((2, 2), np.uint8))
    for name in ("Rows", "Columns", "PixelData", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(dataset, name)
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.EncapsulatedDocument = b"%PDF-1.4 "
    return written(dataset)


def noise(shape=(16, 20)) -> np.ndarray:
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "mixed"
    for name in ("good", "schädel 影像", "empty"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        (folder / "good" / f"{number}.dcm").write_bytes(written(make(noise())))
    (folder / "good" / "1.2.840.99").write_bytes(written(make(noise())))  # named by its UID
    Pillow.fromarray(noise()).save(folder / "schädel 影像" / "grün 😀.png")
    Pillow.fromarray(noise()).save(folder / "schädel 影像" / "Ü.JPG")
    whole = written(make(noise()))
    (folder / "truncated.dcm").write_bytes(whole[: len(whole) * 2 // 3])
    without = make(noise())
    del without.PixelData
    (folder / "without.dcm").write_bytes(written(without))
    (folder / "pdf.dcm").write_bytes(encapsulated_pdf())
    (folder / "empty.png").touch()
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "first.png").symlink_to("second.png")
    (folder / "second.png").symlink_to("first.png")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    (folder / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "outside.png").write_bytes((folder / "schädel 影像" / "grün 😀.png").read_bytes())
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "folder.png").mkdir()
    Pillow.fromarray(noise()).save(folder / "folder.png" / "inside.png")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "notes.txt").write_text("neither")
    (folder / "locked.png").write_bytes(b"\x89PNG")
    (folder / "locked.png").chmod(0)
    return folder


REASONS = {
    "truncated.dcm": "truncated DICOM (ValueError)",
    "without.dcm": "DICOM without pixels (modality OT)",
    "pdf.dcm": "no picture: DICOM that is an encapsulated PDF, not an image",
    "empty.png": "zero bytes",
    "bomb.png": "100000 x 100000 pixels, more than 178,956,970",
    "out.png": LINK_OUTSIDE,
    "round": "link to a folder, not followed",
    "pipe.png": "not a file",
    "text.jpg": "not an image",
}
LINKS = {"loop.png", "first.png", "second.png", "gone.png"}


@pytest.mark.parametrize("options", [[], ["--frames", "all"]])
def test_mixed_folder(folder, tmp_path, options):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "medstrata", "prepare", str(folder)),
            *("--out", str(tmp_path / "out"), "--max-quarantine", "0.9", *options),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    table = pd.read_csv(tmp_path / "out" / "quarantine.csv").set_index("source")["reason"]
    assert table.index.is_unique
    for name, reason in REASONS.items():
        assert table.pop(name) == reason
    for name in LINKS:  # Python's releases differ in how they say this
        assert table.pop(name) in ("link that leads nowhere", "missing")
    denied = "cannot be read: Permission denied"
    assert table.pop("locked.png") == ("not an image" if os.geteuid() == 0 else denied)
    assert table.empty
    store = open_store(tmp_path / "out")
    names = {"schädel 影像/grün 😀.png", "schädel 影像/Ü.JPG", "folder.png/inside.png"}
    assert set(store.manifest["source"]) == names | {
        "good/1.2.840.99",
        *(f"good/{number}.dcm" for number in range(12)),
    }


def test_too_many_bad_ones_fail_in_one_line(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "medstrata", "prepare", str(folder), "--out", str(tmp_path / "out")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert "13 of 29 images (44.8%) could not be read" in done.stderr.splitlines()[-1]


def test_unreadable_permissions(tmp_path, monkeypatch):
    """As root may read everything, the system's answer is made here."""
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG")

    def denied(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for method in ("read_bytes", "stat", "is_file"):
        with monkeypatch.context() as context:
            context.setattr(Path, method, denied)
            with pytest.raises(ImageError) as caught:
                read_image(path)
            assert str(caught.value) == "cannot be read: Permission denied"
    bare = tmp_path / "1.2.3"
    bare.write_bytes(b"\0" * 128 + b"DICM")
    with monkeypatch.context() as context:
        context.setattr(Path, "open", denied)
        assert from_folder(tmp_path).files == ["x.png"]
