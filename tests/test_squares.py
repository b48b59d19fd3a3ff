import numpy as np
import pytest

from medstrata.data.squares import fit_square

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
