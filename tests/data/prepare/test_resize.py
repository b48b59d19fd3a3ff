"""Images become squares of a size: padded, cropped, cut to a retina."""

import numpy as np
import pytest

from medstrata.data.formats.refusals import ImageError
from medstrata.data.prepare.resize import fit_square

GREY = np.random.default_rng(3).integers(1, 256, (20, 30), dtype=np.uint8)
RGB = np.random.default_rng(4).integers(1, 256, (20, 30, 3), dtype=np.uint8)


def block_mean(pixels, side):
    """Area resampling where the factor is whole: means over side x side blocks."""
    height, width = pixels.shape[0] // side, pixels.shape[1] // side
    blocks = pixels.reshape(height, side, width, side, *pixels.shape[2:]).astype(float)
    return blocks.mean(axis=(1, 3))


def test_pad_keeps_aspect_on_black():
    square, note = fit_square(RGB, 30, 3, "pad")
    np.testing.assert_array_equal(square[5:25], RGB)
    assert not square[:5].any()
    assert not square[25:].any()
    assert note == ""


def test_pad_shrinks_by_area():
    large = np.random.default_rng(5).integers(1, 256, (40, 60, 3), dtype=np.uint8)
    square, _ = fit_square(large, 15, 3, "pad")
    assert np.abs(square[2:12].astype(float) - block_mean(large, 4)).max() <= 0.5
    assert not square[:2].any()
    assert not square[12:].any()


def test_crop_takes_the_middle():
    square, _ = fit_square(GREY, 20, 1, "crop")
    np.testing.assert_array_equal(square[..., 0], GREY[:, 5:25])
    square, _ = fit_square(GREY.T.copy(), 10, 1, "crop")
    assert np.abs(square[..., 0].astype(float) - block_mean(GREY.T[5:25], 2)).max() <= 0.5


def test_stretch_fills():
    square, _ = fit_square(np.kron(GREY, np.ones((3, 2), np.uint8)), 60, 1, "stretch")
    np.testing.assert_array_equal(square[..., 0], np.kron(GREY, np.ones((3, 2), np.uint8)))
    square, _ = fit_square(GREY[:, :20], 10, 1, "stretch")
    assert np.abs(square[..., 0].astype(float) - block_mean(GREY[:, :20], 2)).max() <= 0.5


def test_enlarges():
    square, _ = fit_square(np.array([[0, 200]], np.uint8), 8, 1, "pad")
    assert square[3:5].max() == 200  # two wide and one high: eight wide and four high
    assert not square[:2].any()
    assert square[2:6, 0].max() == 0


def test_channels():
    square, note = fit_square(GREY[:, :20], 20, 3, "pad")
    for channel in range(3):
        np.testing.assert_array_equal(square[..., channel], GREY[:, :20])
    assert note == ""
    square, note = fit_square(RGB[:, :20], 20, 1, "pad")
    luma = RGB[:, :20] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(square[..., 0] - luma).max() <= 1
    assert note == "colour to grey"


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_extreme_shapes(shape, fit):
    square, _ = fit_square(np.full(shape, 9, np.uint8), 16, 3, fit)
    assert square.shape == (16, 16, 3)
    assert square.max() == 9


def disc(height, width, centre, radius, dtype=np.uint8):
    """A lit circle on black, as a fundus camera makes it."""
    down, along = np.mgrid[:height, :width]
    inside = (down - centre[0]) ** 2 + (along - centre[1]) ** 2 <= radius**2
    top = np.iinfo(dtype).max
    pixels = np.where(inside, 0.6 * top, 0.01 * top).astype(dtype)
    return np.stack([pixels, pixels // 2, pixels // 4], axis=-1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fundus_off_centre_is_cut_out(dtype):
    pixels = disc(300, 500, (140, 320), 100, dtype)
    square, note = fit_square(pixels, 200, 3, "fundus")
    assert square.dtype == dtype
    diameter = [int(size) for size in note.split(",")[1].replace("px", "").split("x")]
    assert all(abs(size - 200) <= 2 for size in diameter)
    expected = disc(200, 200, (99.5, 99.5), 100, dtype)
    same = np.abs(square.astype(float) - expected).max(axis=2) < 0.02 * np.iinfo(dtype).max
    assert same.mean() > 0.97


def test_fundus_cut_at_top_and_bottom_keeps_its_aspect():
    pixels = disc(160, 400, (80, 180), 100)  # 20 px are missing at the top and the bottom
    square, note = fit_square(pixels, 200, 3, "fundus")
    assert note in [f"cut to the fundus, {width} x 160 px" for width in (199, 200, 201)]
    lit = square.max(axis=2) > 40
    assert not lit[:19].any()
    assert not lit[-19:].any()
    assert lit[100].sum() > 195
    assert abs(int(lit.any(axis=1).sum()) - 160) <= 2


def test_specks_of_text_are_no_fundus():
    pixels = disc(300, 500, (150, 250), 120)
    plain, note = fit_square(pixels, 128, 3, "fundus")
    specked = pixels.copy()
    specked[5:12, 5:25:2] = 255
    specked[290:296, 470:495:3] = 255
    square, noted = fit_square(specked, 128, 3, "fundus")
    np.testing.assert_array_equal(square, plain)
    assert noted == note


def test_fundus_that_fills_its_image_is_left():
    pixels = disc(200, 200, (99.5, 99.5), 100)
    square, note = fit_square(pixels, 200, 3, "fundus")
    assert np.abs(square.astype(int) - pixels).mean() < 2
    full = np.full((50, 60, 3), 90, np.uint8)
    full[0, 0] = 91
    square, note = fit_square(full, 60, 3, "fundus")
    np.testing.assert_array_equal(square[5:55], full)
    assert note == ""


def test_no_fundus():
    black = np.zeros((40, 60), np.uint8)
    square, note = fit_square(black, 30, 1, "fundus")
    assert not square.any()
    speck = black.copy()
    speck[3:6, 3:6] = 200
    square, note = fit_square(speck, 60, 1, "fundus")
    np.testing.assert_array_equal(square[10:50, :, 0], speck)
    assert note == "no lit circle found"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_keep_changes_no_pixel(dtype):
    pixels = GREY.astype(dtype) * dtype(np.iinfo(dtype).max // 255)
    square, note = fit_square(pixels, 40, 1, "keep")
    np.testing.assert_array_equal(square[10:30, 5:35, 0], pixels)
    assert square.sum(dtype=np.int64) == pixels.sum(dtype=np.int64)
    assert (square.dtype, note) == (dtype, "")
    with pytest.raises(ImageError, match="30 x 20 pixels, too large to be kept in 29 x 29"):
        fit_square(pixels, 29, 1, "keep")


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch", "fundus", "keep"])
def test_16_bits_are_resampled_as_8_bits_are(fit):
    size = 40 if fit == "keep" else 15
    eight, _ = fit_square(RGB, size, 3, fit)
    sixteen, _ = fit_square(RGB.astype(np.uint16) * 257, size, 3, fit)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen / 257 - eight).max() <= 0.51
