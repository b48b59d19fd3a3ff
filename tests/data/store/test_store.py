import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.labels import make_task
from medstrata.data.prepare import decode as decoding
from medstrata.data.prepare import manifest as assemble
from medstrata.data.prepare import shards
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.resize import fit_square
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.splits import label_subset
from medstrata.data.store import shards as stored
from medstrata.data.store.open import open_store
from medstrata.runtime.errors import MedstrataError


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images a shard, so that small sets have several."""
    monkeypatch.setattr(decoding, "SHARD_ROWS", 10)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def test_store_holds_the_images(image_folder, store):
    assert (len(store), store.size, store.channels) == (48, 20, 1)
    assert sorted(contents(store.path)) == [
        "audit.json", "images-00000.npy", "manifest.parquet", "preview.png", "quarantine.csv",
        "store.json",
    ]  # fmt: skip
    for row, source in enumerate(store.manifest["source"]):
        square, _ = fit_square(read_grey(image_folder / source), 20, 1, "pad")
        np.testing.assert_array_equal(store[row], square)
    rows = np.array([47, 3, 3, 20])
    np.testing.assert_array_equal(store.read(rows), np.stack([store[row] for row in rows]))


def test_pixels_are_views_that_cannot_be_written(store):
    assert store[5].base is not None
    assert not store[5].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        store[5][0, 0] = 1


def test_manifest(store):
    manifest = store.manifest
    assert list(manifest.columns) == [
        "sample_id", "patient_id", "site", "split", "source", "width", "height", "source_channels",
        "format", "mode", "conversion", "checksum", "pixel_checksum", "fingerprint", "dark_share",
        "bright_share", "contrast", "shard", "shard_row", "label.finding", "label.grade",
        "label.kind",
    ]  # fmt: skip
    first = manifest.iloc[0]
    assert (first["sample_id"], first["source"]) == ("images/site0/000", "images/site0/000.png")
    assert (first["width"], first["height"], first["format"]) == (20, 16, "PNG")
    assert manifest["sample_id"].is_unique
    assert manifest["patient_id"].iloc[3] == "002"  # leading zeros stay
    assert manifest["label.finding"].dtype.kind == "i" or manifest["label.finding"].dtype == "Int64"
    kinds = {name: column.kind for name, column in store.label_columns.items()}
    assert kinds == {"finding": "binary", "grade": "ordinal", "kind": "multiclass"}


def test_statistics_are_those_of_the_train_pixels(store):
    pixels = store.read(store.rows("train")) / 255
    np.testing.assert_allclose(store.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(store.std, [pixels.std()], rtol=1e-12)


def test_statistics_of_colour(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(20):
        pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
    store = prepare(tmp_path / "images", tmp_path / "out")
    pixels = store.read(store.rows("train")) / 255
    assert store.channels == 3
    np.testing.assert_allclose(store.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(store.std, pixels.std((0, 1, 2)), rtol=1e-12)


def test_statistics_by_hand():
    parts = pd.DataFrame({"sum0": [255 * 64, 0, 9], "squares0": [255**2 * 64, 0, 9]})
    form = shards.StoreFormat(8, 1, "pad", ReadSettings())
    mean, std = assemble.channel_statistics(parts, np.array([True, True, False]), form)
    assert (mean, std) == ([0.5], [0.5])


def test_splits_are_by_patient(store):
    table = store.manifest
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert [len(store.rows(name)) for name in ("train", "val", "test")] == [33, 6, 9]
    assert sorted(np.concatenate([store.rows(s) for s in ("train", "val", "test")])) == list(
        range(48)
    )
    np.testing.assert_array_equal(store.rows(), np.arange(48))
    assert (table["split"].to_numpy()[store.rows("val")] == "val").all()
    assert store.patient_ids[3] == "002"


def test_tasks_of_a_real_store(store):
    task = make_task(store, "kind: a vs b+c")
    wanted = (store.manifest["label.kind"] != "a").astype(int)
    assert task.targets.tolist() == wanted.tolist()
    assert len(label_subset(task, store, 1.0, 0)) == 33


@pytest.mark.usefixtures("small_shards")
def test_reopened_store_is_the_same(image_folder, tmp_path):
    made = prepare(
        image_folder, tmp_path / "out", PrepareSettings(labels=image_folder / "labels.csv")
    )
    opened = open_store(str(tmp_path / "out"))
    assert max(path.name for path in made.path.glob("*.npy")) == "images-00004.npy"
    pd.testing.assert_frame_equal(opened.manifest, made.manifest)
    np.testing.assert_array_equal(opened.read(opened.rows()), made.read(made.rows()))
    assert opened.digest == made.digest
    assert opened.label_columns == made.label_columns


@pytest.mark.usefixtures("small_shards")
def test_more_shards_than_are_kept_open(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_OPEN_SHARDS", 2)
    store = prepare(image_folder, tmp_path / "out")
    rows = np.random.default_rng(0).permutation(48)
    again = store.read(rows)
    for row, pixels in zip(rows, again, strict=True):
        source = image_folder / store.manifest["source"][row]
        np.testing.assert_array_equal(pixels[2:18, :, 0], read_grey(source))


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("workers", [1, 7])
def test_workers_change_nothing(image_folder, tmp_path, workers):
    settings = PrepareSettings(labels=image_folder / "labels.csv", size=16, fit="crop")
    prepare(image_folder, tmp_path / "one", settings, workers=3)
    prepare(image_folder, tmp_path / "other", settings, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.usefixtures("small_shards")
def test_interrupted_goes_on_and_ends_the_same(image_folder, tmp_path, monkeypatch):
    settings = PrepareSettings(labels=image_folder / "labels.csv")
    (image_folder / "images" / "bad.png").write_bytes(b"")
    prepare(image_folder, tmp_path / "whole", settings, workers=2)
    decode, seen = shards._decode, []

    def breaking(sources, first, *given):
        if sources.files[first].endswith("030.png") and not seen:
            seen.append(first)
            raise KeyboardInterrupt
        return decode(sources, first, *given)

    monkeypatch.setattr(shards, "_decode", breaking)
    with pytest.raises(KeyboardInterrupt):
        prepare(image_folder, tmp_path / "broken", settings, workers=2)
    done = sorted(path.name for path in (tmp_path / "broken" / "parts").glob("*.parquet"))
    assert 0 < len(done) < 5
    with pytest.raises(MedstrataError, match="unfinished: run the same prepare command again"):
        open_store(tmp_path / "broken")
    (tmp_path / "broken" / ".images-00009.npy.1.tmp").write_bytes(b"half")
    read = []
    monkeypatch.setattr(shards, "_decode", lambda *given: read.append(given[1]) or decode(*given))
    prepare(image_folder, tmp_path / "broken", settings, workers=2)
    assert len(read) == 49 - 10 * len(done)
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


@pytest.mark.usefixtures("small_shards")
def test_killed_goes_on_and_ends_the_same(image_folder, tmp_path):
    prepare(image_folder, tmp_path / "whole", PrepareSettings(size=16, channels=1))
    code = (
        "import os, signal, sys\n"
        "from itertools import count\n"
        "from medstrata.data.prepare import decode\n"
        "from medstrata.data.prepare.prepare import prepare\n"
        "from medstrata.data.prepare.settings import PrepareSettings\n"
        "decode.SHARD_ROWS = 10\n"
        "read, number = decode.read_images, count()\n"
        "def read_or_die(*given):\n"
        "    if next(number) == 25:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(*given)\n"
        "decode.read_images = read_or_die\n"
        "prepare(*sys.argv[1:], PrepareSettings(size=16, channels=1), workers=1)\n"
    )
    out = tmp_path / "killed"
    ran = subprocess.run([sys.executable, "-c", code, image_folder, out], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert len(list(out.glob("parts/*.parquet"))) == 2
    prepare(image_folder, out, PrepareSettings(size=16, channels=1))
    assert contents(tmp_path / "whole") == contents(out)


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
        "linked.png": "path leads out of the source folder",
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


def test_list_as_source(image_folder, tmp_path, capsys):
    outside = tmp_path / "outside.png"
    shutil.copy(image_folder / "images" / "site0" / "000.png", outside)
    table = pd.read_csv(image_folder / "labels.csv", dtype=str)
    more = ["images/gone.png", "../outside.png", str(outside), "images/also_gone.png"]
    extra = pd.DataFrame({"file": more, "patient_id": list("wxyz"), "finding": "0"})
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
    }
    assert "4 images quarantined" in capsys.readouterr().err
    with pytest.raises(MedstrataError, match="4 of 52 images"):
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
    assert (unknown["patient_id"] == unknown["sample_id"]).all()
    assert (make_task(store, "finding").targets == -1).sum() == 5


def test_grey_store_counts_the_colour_it_drops(image_folder, tmp_path, capsys):
    colour = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(image_folder / "images" / "colour.png"), colour)
    store = prepare(image_folder, tmp_path / "grey", PrepareSettings(channels=1))
    assert "1 colour images were made grey" in capsys.readouterr().err
    row = store.manifest.set_index("sample_id").loc["images/colour"]
    assert (row["source_channels"], row["conversion"]) == (3, "colour to grey")
    assert prepare(image_folder, tmp_path / "colour").channels == 3


def test_store_json_names_no_path(store, tmp_path):
    assert str(tmp_path) not in (store.path / "store.json").read_text()


def test_opening_what_is_no_store(store, tmp_path):
    with pytest.raises(MedstrataError, match="is not a store: make one with"):
        open_store(tmp_path)
    shard = store.path / "images-00000.npy"
    os.truncate(shard, 4000)
    with pytest.raises(MedstrataError, match=r"images-00000\.npy is missing or cut short"):
        open_store(store.path)
    shard.unlink()
    with pytest.raises(MedstrataError, match="missing or cut short"):
        open_store(store.path)
    header = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(MedstrataError, match="store format 99, this version reads 2"):
        open_store(store.path)
    (store.path / "store.json").write_text("{")
    with pytest.raises(MedstrataError, match=r"is damaged \(JSONDecodeError"):
        open_store(store.path)


def test_full_disk_is_one_line_and_goes_on(image_folder, tmp_path, monkeypatch):
    save = np.save

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(MedstrataError, match=r"cannot be written \(No space left on device\)"):
        prepare(image_folder, tmp_path / "out")
    monkeypatch.setattr(np, "save", save)
    assert len(prepare(image_folder, tmp_path / "out")) == 48
    assert not list((tmp_path / "out").glob(".*"))
