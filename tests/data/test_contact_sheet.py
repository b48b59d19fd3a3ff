"""Sheets of images: sizes, pixels, words."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medstrata.data.contact_sheet import TILE, ContactSheet

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)


def saved(sheet: ContactSheet, path: Path) -> NDArray[np.uint8]:
    sheet.save(path)
    with Image.open(path) as image:
        return np.asarray(image)


def test_boxes_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    sheet = ContactSheet(20, 10, WHITE)
    sheet.box(3, 2, 5, 4, RED)
    sheet.box(12, 2, 0, 4, RED)
    picture = saved(sheet, tmp_path / "sheet.png")
    red = (picture == RED).all(axis=2)
    assert picture.shape == (10, 20, 3)
    assert red.sum() == 5 * 4
    assert red[2:6, 3:8].all()


@pytest.mark.parametrize(("dtype", "step"), [(np.uint8, 1), (np.uint16, 257)])
@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_keep_pixels(tmp_path: Path, dtype: type, step: int, channels: int) -> None:
    pixels = np.arange(4 * 4 * channels).reshape(4, 4, channels)
    sheet = ContactSheet(TILE + 2, TILE + 2, BLACK)
    sheet.thumbnail(1, 1, (pixels * step).astype(dtype))
    tile = saved(sheet, tmp_path / "sheet.png")[1:-1, 1:-1]
    wanted = np.broadcast_to(pixels, (4, 4, 3))
    np.testing.assert_array_equal(tile[:: TILE // 4, :: TILE // 4], wanted)


@pytest.mark.parametrize("text", ["a word that is by far too long", "two\nlines of a label " * 3])
def test_words_stay_within_their_width(tmp_path: Path, text: str) -> None:
    sheet = ContactSheet(200, 40, WHITE)
    sheet.words(4, 2, text, BLACK, 60)
    inked = (saved(sheet, tmp_path / "sheet.png") < 128).all(axis=2)
    assert inked.any(axis=0)[40:64].any()
    assert not inked[:, 65:].any()
    assert not inked[18:].any()
