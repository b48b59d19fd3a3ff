"""What a TIFF holds, page by page and number by number, against tifffile."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from medstrata.data.formats.read import list_frames, read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.data.formats.tiff import quiet_tiff
from support.read_one import read_image

GENERATOR = np.random.default_rng(15)
RGB = GENERATOR.integers(0, 256, (40, 56, 3), dtype=np.uint8)
NUMBERS = GENERATOR.normal(size=(40, 56)) * 3000


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("kind", ["i1", "u2", "i2", "f2", "u4", "i4", "f4", "f8"])
def test_numbers_of_every_kind(tmp_path, kind, byteorder, compression):
    pytest.importorskip("imagecodecs")
    most = np.iinfo(kind).max if kind[0] in "ui" else 3000
    numbers = np.clip(NUMBERS / 10_000, 0 if kind[0] == "u" else -1, 1) * most
    path = tmp_path / "x.tif"
    options = {"byteorder": byteorder, "compression": compression}
    for tile, predictor, photometric in (
        (None, False, "minisblack"),
        ((16, 32), compression is not None and kind != "i1", "miniswhite"),
    ):
        tifffile.imwrite(
            path,
            numbers.astype(kind),
            tile=tile,
            predictor=predictor,
            photometric=photometric,
            **options,
        )
        values = tifffile.imread(path).astype(np.float64)
        low, high = values.min(), values.max()
        expected = (values - low) / (high - low)
        if photometric == "miniswhite":
            expected = 1 - expected
        image = read_image(path, ReadSettings(window="full", bits=16))
        assert np.abs(image.pixels - expected * 65535).max() < 0.51
        assert image.mode == np.dtype(kind).name


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (
            np.stack([RGB[..., 0]] * 5, -1),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "TIFF of 5 channels, whole numbers of 8 bits, which is not read: save it as grey",
        ),
        (
            np.stack([RGB[..., 0]] * 3),
            {"photometric": "minisblack", "planarconfig": "separate"},
            "TIFF of 3 channels in planes of their own, whole numbers of 8 bits",
        ),
        (NUMBERS.astype(np.int64), {}, "TIFF of 1 channel, signed numbers of 64 bits"),
        (RGB.astype(np.float32), {"photometric": "rgb"}, "TIFF of 3 channels, floats of 32 bits"),
        (RGB, {"photometric": "rgb", "compression": "webp"}, "TIFF compressed by WebP, which is"),
        (RGB[..., 0], {"compression": "jpegxl"}, "TIFF compressed by JPEG XL, which is not read"),
        (RGB[..., 0], {"compression": "lerc"}, "TIFF compressed by LERC, which is not read: save"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_not_read_is_named(tmp_path, capfd, pixels, options, reason):
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "x.tif", pixels, **options)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "x.tif")
    assert str(caught.value).startswith(reason)
    assert capfd.readouterr().err == ""


def test_libtiff_keeps_quiet_meanwhile_and_speaks_again(tmp_path, capfd):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[place + 9 : place + 99] = b"\xff" * 90
    path.write_bytes(data)
    with quiet_tiff(), pytest.raises(ImageError):
        read_image(path)
    assert capfd.readouterr().err == ""
    with pytest.raises(ImageError):
        read_image(path)
    assert "Decod" in capfd.readouterr().err


def test_a_channel_beyond_grey_is_left_out_and_said(tmp_path):
    both = np.stack([RGB[..., 0], RGB[..., 1]], -1)
    tifffile.imwrite(tmp_path / "x.tif", both, photometric="minisblack", planarconfig="contig")
    image = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.pixels, RGB[..., 0])
    assert image.conversion == "channels beyond L left out: 1"


def test_every_image_of_an_imagej_stack_is_read(tmp_path):
    stack = GENERATOR.integers(0, 65536, (6, 20, 30)).astype(np.uint16)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stack, imagej=True, truncate=True)
    assert len(list_frames(path, "axial")) == 6
    settings = ReadSettings(window="32767.5/65535", bits=16)
    images = list(read_images(path, [0, 3, 5], settings))
    np.testing.assert_array_equal([image.pixels for image in images], stack[[0, 3, 5]])
    first = read_image(path, settings)
    np.testing.assert_array_equal(first.pixels, stack[0])
    assert "image 1 of 6 of an ImageJ stack" in first.conversion
    path.write_bytes(path.read_bytes()[: -20 * 30 * 2 - 1])  # the last and a byte of the fifth
    assert list(list_frames(path, "axial")) == [0, 1, 2, 3, 4]
    *_, lost = read_images(path, [3, 4], settings)
    assert str(lost) == "truncated TIFF: 4 of 6 images are in it"


def test_a_reduced_copy_that_comes_first_is_not_the_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(RGB, photometric="rgb")
    image = read_image(tmp_path / "x.tif")
    np.testing.assert_array_equal(image.pixels, RGB)
    assert "page 2: those before are reduced copies" in image.conversion


def test_pages_of_a_file_are_walked_through_once(tmp_path, monkeypatch):
    pages = GENERATOR.integers(0, 256, (40, 8, 9), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pages, photometric="minisblack")
    loaded = []
    load = ImageFileDirectory_v2.load
    monkeypatch.setattr(
        ImageFileDirectory_v2, "load", lambda self, file: loaded.append(1) or load(self, file)
    )
    for image, page in zip(read_images(path, range(40), ReadSettings()), pages, strict=True):
        np.testing.assert_array_equal(image.pixels, page)
    assert len(loaded) < 8 * len(pages)


def test_a_page_that_is_asked_for_twice(tmp_path):
    pages = GENERATOR.integers(0, 256, (3, 8, 9), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pages, photometric="minisblack")
    wanted = [None, 0, 1, 1, 2]
    for image, page in zip(read_images(path, wanted, ReadSettings()), wanted, strict=True):
        np.testing.assert_array_equal(image.pixels, pages[page or 0])


def test_pages_are_frames(tmp_path):
    pages = GENERATOR.integers(0, 256, (5, 20, 30), dtype=np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pages, photometric="minisblack")
    assert len(list_frames(path, "axial")) == 5
    for page, image in enumerate(read_images(path, range(5), ReadSettings())):
        np.testing.assert_array_equal(image.pixels, pages[page])
        assert image.conversion == f"page {page + 1}"
    np.testing.assert_array_equal(read_image(path).pixels, pages[0])


def test_reduced_copies_are_no_images_of_their_own(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif", byteorder=">") as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(255 - RGB, photometric="rgb")
    assert list(list_frames(tmp_path / "x.tif", "axial")) == [0, 2]
    first, last = read_images(tmp_path / "x.tif", [0, 2], ReadSettings())
    np.testing.assert_array_equal([first.pixels, last.pixels], [RGB, 255 - RGB])


@pytest.mark.parametrize("bigtiff", [False, True])
def test_pages_that_are_cut_off_are_not_lost_in_silence(tmp_path, bigtiff):
    pages = GENERATOR.integers(0, 256, (8, 20, 30), dtype=np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pages, photometric="minisblack", bigtiff=bigtiff)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        ends = [page.offset for page in file.pages]
    for length in (ends[1] - 1, ends[1] + 5, ends[4] + 3):
        path.write_bytes(whole[:length])
        held = sum(end + 10 < length for end in ends)
        frames = list_frames(path, "axial")
        assert list(frames) == list(range(held + 1))
        *read, lost = read_images(path, frames, ReadSettings())
        np.testing.assert_array_equal([image.pixels for image in read], pages[:held])
        assert str(lost) == f"truncated TIFF: page {held + 1} and what follows are cut off"
        assert f"cut off behind {held} pages" in read_image(path).conversion


def test_one_image_out_of_an_imagej_stack(tmp_path):
    path: Path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB[..., 0], description="ImageJ=1.53\nimages=6\n", metadata=None)
    assert list(list_frames(path, "axial")) == [0]
    assert "first of 6 pages that ImageJ names" in read_image(path).conversion
