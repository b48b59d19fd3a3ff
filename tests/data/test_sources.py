"""Images are found, named and read one by one, whatever holds them."""

import os
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import clean_name
from medstrata.runtime.errors import MedstrataError


def test_clean_names():
    assert clean_name(" ./a\\b/../c.png", Path("/data")) == "a/c.png"
    assert clean_name("/data/x/c.png", Path("/data")) == "x/c.png"
    assert clean_name("/other/c.png", Path("/data")) == "/other/c.png"
    assert clean_name("a/../../c.png", Path("/data")) == "../c.png"


def test_store_inside_the_source_is_not_read(image_folder):
    first = prepare(image_folder, image_folder / "store")
    assert len(prepare(image_folder, image_folder / "store")) == len(first) == 48
    assert len(prepare(image_folder, image_folder / "store2", PrepareSettings(size=8))) == 48


def test_folder_that_cannot_be_listed(image_folder, tmp_path, monkeypatch):
    scan, locked = os.scandir, "site1"

    def guarded(path):
        if str(path).endswith(locked):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    store = prepare(image_folder, tmp_path / "out")
    assert 0 < len(store) < 48
    table = pd.read_csv(store.path / "quarantine.csv")
    assert table.to_numpy().tolist() == [
        ["images/site1", "folder that cannot be listed: Permission denied"]
    ]
    locked = image_folder.name
    with pytest.raises(MedstrataError, match=r"cannot be listed \(Permission denied\)"):
        prepare(image_folder, tmp_path / "other")


def farm(image_folder: Path, root: Path) -> Path:
    """A folder of links, as caches and clusters keep data: a file, a folder, and a circle."""
    (root / "more").mkdir(parents=True)
    for number, path in enumerate(sorted((image_folder / "images" / "site0").glob("*.png"))):
        (root / f"{number}.png").symlink_to(path)
    (root / "more" / "site1").symlink_to(image_folder / "images" / "site1")
    (root / "twice").symlink_to(image_folder / "images" / "site1")
    (root / "more" / "round").symlink_to(root)
    return root


def test_links_that_lead_outside_are_read_where_that_is_asked_for(image_folder, tmp_path):
    root = farm(image_folder, tmp_path / "farm")
    with pytest.raises(MedstrataError, match="link that leads out of the source folder"):
        prepare(root, tmp_path / "closed")
    store = prepare(root, tmp_path / "open", PrepareSettings(follow_links=True))
    straight = prepare(image_folder, tmp_path / "straight")
    folders = Counter(name.rpartition("/")[0] for name in store.manifest["source"])
    per_site = Counter(name.split("/")[1] for name in straight.manifest["source"])
    assert folders == {"": per_site["site0"], "more/site1": per_site["site1"]}
    listed = tmp_path / "farm" / "list.csv"
    pd.DataFrame({"file": [f"{number}.png" for number in range(4)]}).to_csv(listed, index=False)
    of_list = prepare(listed, tmp_path / "listed", PrepareSettings(follow_links=True))
    assert len(of_list) == 4


def test_a_list_beside_its_images_says_where_it_belongs(image_folder, tmp_path):
    listed = tmp_path / "elsewhere" / "list.csv"
    listed.parent.mkdir()
    names = [str(path) for path in sorted(image_folder.rglob("*.png"))[:4]]
    pd.DataFrame({"file": names}).to_csv(listed, index=False)
    with pytest.raises(MedstrataError, match=r"names 4 files, none of them in its own folder") as e:
        prepare(listed, tmp_path / "out")
    assert str(e.value).endswith(f"put it into {Path(names[0]).parent}")


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_marks_of_letters_may_be_written_both_ways(image_folder, tmp_path, on_disk, written):
    paths = sorted((image_folder / "images" / "site0").glob("*.png"))[:6]
    root, rows = tmp_path / "in", []
    root.mkdir()
    for number, path in enumerate(paths):
        name = f"é{number}ü.png"
        shutil.copy(path, root / unicodedata.normalize(on_disk, name))
        rows.append({"file": unicodedata.normalize(written, name), "y": number % 2})
    table = root / "labels.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    settings = PrepareSettings(labels=table, label_columns=["y"])
    for source, out in ((root, "folder"), (table, "list")):
        store = prepare(source, tmp_path / out, settings)
        assert store.manifest["label.y"].tolist() == [0, 1] * 3


def test_all_frames_lose_nothing_without_a_word(tmp_path, capsys):
    root, generator = tmp_path / "in", np.random.default_rng(4)
    root.mkdir()
    pages = generator.integers(0, 256, (8, 24, 24), dtype=np.uint8)
    for name, reduced in (("cut.tif", 0), ("pyramid.tif", 1)):
        with tifffile.TiffWriter(root / name) as writer:
            for page in pages[: 2 if reduced else 8]:
                writer.write(page, photometric="minisblack", subfiletype=reduced, contiguous=False)
            writer.write(pages[7], photometric="minisblack")
    whole = (root / "cut.tif").read_bytes()
    (root / "cut.tif").write_bytes(whole[: len(whole) // 2])
    series = generator.integers(0, 256, (9, 9, 3, 2), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), root / "series.nii")
    settings = PrepareSettings(frames="all", max_quarantine=0.5)
    store = prepare(root, tmp_path / "out", settings)
    sources = Counter(name.split("#")[0] for name in store.manifest["source"])
    assert sources == {"cut.tif": 4, "pyramid.tif": 1, "series.nii": 3}
    lost = pd.read_csv(tmp_path / "out" / "quarantine.csv").to_numpy().tolist()
    assert [name for name, _ in lost] == ["cut.tif#4", "cut.tif#5"]
    assert all(reason.startswith("truncated") for _, reason in lost)
    said = " ".join(capsys.readouterr().err.split())
    assert "3 images are of files of which one page, or one volume of a series, is read" in said
