"""The picture of a new store shows every group of images."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.runtime.errors import MedstrataError

CAPTION, STRIP, WIDTH = 24, 200, 8 * 100 + 4 + 200


def write_sites(folder: Path, sites: dict[str, NDArray], count: int = 20) -> Path:
    """Images of several sites, each a constant level with one odd pixel."""
    rows = []
    for site, pixels in sites.items():
        for number in range(count):
            name = f"{site}{number}.png"
            Image.fromarray(pixels).save(folder / name)
            rows.append({"file": name, "site": site, "label": number % 2})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def level(value: int) -> NDArray[np.uint8]:
    pixels = np.full((32, 32), value, np.uint8)
    pixels[0, 0] = 0
    return pixels


def sheet(path: Path) -> NDArray[np.uint8]:
    return cv2.imread(str(path / "preview.png"))[..., ::-1]


def test_each_group_has_its_strip_and_its_histogram(tmp_path):
    labels = write_sites(tmp_path, {"dark": level(60), "light": level(195)})
    store = prepare(tmp_path, tmp_path / "out", PrepareSettings(labels=labels))
    assert set(store.manifest["site"]) == {"dark", "light"}
    picture = sheet(store.path)
    assert picture.shape == (2 * (CAPTION + STRIP), WIDTH, 3)
    for number, value in enumerate((60, 195)):
        top = number * (CAPTION + STRIP) + CAPTION
        strip = picture[top : top + STRIP]
        assert (strip[50, 50] == value).all()  # first tile
        assert (strip[150, 750] == value).all()  # sixteenth
        base = strip[:, -196:-4].max(axis=2)[-8]  # just above the base line
        lit = np.flatnonzero(base > 0)
        place = (lit.min() + lit.max()) / 2 / 192 * 256
        assert place == pytest.approx(value, abs=4)


def test_groups_without_sites_are_formats_and_kinds_of_pixels(tmp_path):
    Image.fromarray(level(9)).save(tmp_path / "a.png")
    Image.fromarray(level(9)).save(tmp_path / "b.tif")
    Image.fromarray(level(9).astype(np.uint16) * 9).save(tmp_path / "c.png")
    store = prepare(tmp_path, tmp_path / "out")
    assert sheet(store.path).shape[0] == 3 * (CAPTION + STRIP)
    assert sorted(store.manifest["mode"]) == ["I;16", "L", "L"]


def test_many_groups_are_cut_and_counted(tmp_path):
    sites = {f"s{number:02d}": level(100 + number) for number in range(15)}
    labels = write_sites(tmp_path, sites, count=4)
    store = prepare(tmp_path, tmp_path / "out", PrepareSettings(labels=labels))
    assert sheet(store.path).shape[0] == 12 * (CAPTION + STRIP) + CAPTION


def test_look_first_then_all(tmp_path):
    labels = write_sites(tmp_path, {"dark": level(60), "light": level(195)}, count=200)
    look = prepare(tmp_path, tmp_path / "out", PrepareSettings(labels=labels), preview=True)
    assert len(look) == 256
    assert set(look.manifest["site"]) == {"dark", "light"}
    assert look.manifest["source"].is_unique
    everything = prepare(tmp_path, tmp_path / "out", PrepareSettings(labels=labels))
    assert len(everything) == 400
    with pytest.raises(MedstrataError, match="other preview"):
        prepare(tmp_path, tmp_path / "out", PrepareSettings(labels=labels), preview=True)
