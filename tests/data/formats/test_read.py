"""Files of every format give their pixels, in one range and orientation, or are refused."""

import gzip
import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from medstrata.data.formats import raster, refusals
from medstrata.data.formats.refusals import ImageError
from support.read_one import read_image

GENERATOR = np.random.default_rng(1)
GREY = GENERATOR.integers(0, 256, (6, 9), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (6, 9, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)


def encode(pixels: NDArray | Pillow.Image, form: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Pillow.Image) else Pillow.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def save(folder: Path, data: bytes, name: str = "image.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def plain_window(values: NDArray) -> NDArray:
    """The window as the docstring tells it, by sorting and with a loop."""
    ordered = np.sort(values.astype(float), axis=None)

    def percentile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    low, high = percentile(0.005), percentile(0.995)
    return np.array(
        [
            [round(min(max((v - low) / (high - low), 0), 1) * 255) for v in row]
            for row in values.astype(float)
        ]
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "colour"])
def test_lossless_formats_give_the_very_pixels(tmp_path, form, pixels):
    data = encode(pixels, form)
    image = read_image(save(tmp_path, data, "named.otherwise"))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.format, image.width, image.height, image.conversion) == (form, 9, 6, "")
    assert image.checksum == hashlib.sha256(data).hexdigest()[:32]


def test_jpeg(tmp_path):
    image = read_image(save(tmp_path, encode(SMOOTH, "JPEG", quality=95)))
    assert image.format == "JPEG"
    assert np.abs(image.pixels.astype(int) - SMOOTH).max() < 8


def test_large_jpeg_may_be_decoded_small(tmp_path):
    big = np.kron(SMOOTH, np.ones((8, 8), np.uint8))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, encode(big, "JPEG", quality=95, exif=exif))
    image = read_image(path, smallest_side=100)
    assert image.pixels.shape == (160, 120)  # 1/4 of both sides, turned; 1/8 would be below 100
    assert (image.width, image.height) == (480, 640)
    assert image.conversion == "decoded at 1/4; EXIF orientation 6 applied"
    whole = np.kron(np.rot90(SMOOTH, -1), np.ones((2, 2)))
    assert np.abs(image.pixels - whole).mean() < 2
    assert read_image(path, smallest_side=481).pixels.shape == (640, 480)


def test_equal_channels_are_grey(tmp_path):
    image = read_image(save(tmp_path, encode(np.stack([GREY] * 3, axis=-1), "PNG")))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.conversion == "equal channels to grey"
    almost = np.stack([GREY] * 3, axis=-1)
    almost[5, 8, 2] ^= 1
    assert read_image(save(tmp_path, encode(almost, "PNG"))).pixels.ndim == 3


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_is_scaled_by_its_own_percentiles(tmp_path, form):
    deep = GENERATOR.integers(300, 4000, (30, 40)).astype(np.uint16)
    image = read_image(save(tmp_path, encode(deep, form)))
    np.testing.assert_array_equal(image.pixels, plain_window(deep))
    assert image.conversion.endswith(" to 0..255")
    assert image.mode == {"PNG": "I;16", "TIFF": "uint16"}[form]


def test_16_bit_by_hand_and_unchanged_by_scale(tmp_path):
    deep = np.repeat(np.array([0, 100, 200], np.uint16), 400).reshape(30, 40)
    values = read_image(save(tmp_path, encode(deep, "PNG"))).pixels
    assert np.unique(values).tolist() == [0, 128, 255]
    scaled = read_image(save(tmp_path, encode(deep * 7 + 11, "PNG"))).pixels
    np.testing.assert_array_equal(values, scaled)


def test_16_bit_with_a_single_bright_pixel_keeps_it(tmp_path):
    deep = np.full((50, 50), 7, np.uint16)
    deep[3, 4] = 900
    pixels = read_image(save(tmp_path, encode(deep, "PNG"))).pixels
    assert pixels[3, 4] == 255
    assert pixels.sum() == 255


def test_float_tiff(tmp_path):
    values = GENERATOR.normal(size=(30, 40)).astype(np.float32)
    image = read_image(save(tmp_path, encode(values, "TIFF")))
    np.testing.assert_array_equal(image.pixels, plain_window(values))
    assert image.mode == "float32"


def test_white_is_zero_is_inverted(tmp_path):
    deep = GENERATOR.integers(0, 60000, (30, 40)).astype(np.uint16)
    upright = read_image(save(tmp_path, encode(deep, "TIFF"))).pixels
    inverted = read_image(save(tmp_path, encode(deep, "TIFF", tiffinfo={262: 0})))
    assert np.abs(inverted.pixels.astype(int) + upright - 255).max() <= 1
    assert "inverted" in inverted.conversion


def test_transparency_over_black(tmp_path):
    rgba = np.full((4, 4, 4), (200, 100, 50, 128), np.uint8)
    rgba[0, 0] = (10, 20, 30, 0)
    image = read_image(save(tmp_path, encode(rgba, "PNG")))
    assert image.pixels[0, 0].tolist() == [0, 0, 0]
    assert np.abs(image.pixels[1, 1] - np.array([200, 100, 50]) * 128 / 255).max() <= 1
    assert image.conversion == "RGBA to RGB over black"
    opaque = np.concatenate([RGB, np.full((6, 9, 1), 255, np.uint8)], axis=-1)
    image = read_image(save(tmp_path, encode(opaque, "PNG")))
    np.testing.assert_array_equal(image.pixels, RGB)
    assert image.conversion == "RGBA to RGB"


def test_palette(tmp_path):
    indexed = Pillow.fromarray(RGB).quantize(8)
    image = read_image(save(tmp_path, encode(indexed, "PNG")))
    np.testing.assert_array_equal(image.pixels, np.asarray(indexed.convert("RGB")))
    assert (image.mode, image.conversion) == ("P", "P to RGB")


def test_cmyk(tmp_path):
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[:, 8:] = (0, 255, 255, 0)  # no ink, and red
    image = read_image(save(tmp_path, encode(Pillow.fromarray(cmyk, "CMYK"), "TIFF")))
    assert image.pixels[0, 0].tolist() == [255, 255, 255]
    assert image.pixels[0, 15].tolist() == [255, 0, 0]


def test_one_bit(tmp_path):
    image = read_image(save(tmp_path, encode(Pillow.fromarray(GREY > 127), "PNG")))
    np.testing.assert_array_equal(image.pixels, np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: np.rot90(a, 2).T),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_exif_orientation_is_undone(tmp_path, form, orientation, undo):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encode(np.ascontiguousarray(undo(GREY)), form, exif=exif)
    image = read_image(save(tmp_path, data))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert (image.width, image.height) == (9, 6)


def test_first_page_of_several(tmp_path):
    other = Pillow.fromarray(255 - GREY)
    data = encode(GREY, "TIFF", save_all=True, append_images=[other, other])
    image = read_image(save(tmp_path, data))
    np.testing.assert_array_equal(image.pixels, GREY)
    assert image.conversion == "first of 3 pages"


def huge_png() -> bytes:
    """A valid header of 20,000 x 20,000 pixels and nothing behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


PNG, JPEG, TIFF = encode(RGB, "PNG"), encode(SMOOTH, "JPEG"), encode(SMOOTH, "TIFF")
NAN = SMOOTH.astype(np.float32)
NAN[5, 5] = np.nan


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"not a picture at all", "not an image"),
        (b"\x89PNG", "not an image"),
        (PNG[:20], "truncated"),
        (PNG[: len(PNG) * 2 // 3], "truncated"),
        (JPEG[: len(JPEG) * 2 // 3], "truncated"),
        (JPEG[:12], "truncated"),
        (PNG[:29] + b"\0\0\0\0" + PNG[33:], "PNG with a truncated or unsupported header"),
        (TIFF[: len(TIFF) * 2 // 3], "truncated"),
        (PNG[:60] + b"\0" * 30 + PNG[90:], "damaged"),
        (encode(SMOOTH, "GIF")[:2000], "truncated"),
        (encode(GREY, "BMP")[:-9], "truncated"),
        (b"P5 9 6 255 ", "truncated"),
        (b"P5 9 6 4095 " + bytes(107), "truncated PNM"),
        (b"NRRD0004\n", "unsupported format NRRD: save it as NIfTI"),
        (gzip.compress(PNG), "unsupported format gzip of anything but NIfTI: unpack it"),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\1\0\1\1\1\x11\0", "JPEG-LS, which is read in DICOM"),
        (JPEG.replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"), "JPEG of 12 bits, which"),
        (b"\0" * 128 + b"DICM" + b"\0" * 99, "DICOM without pixels"),
        (encode(NAN * np.nan, "TIFF"), "no pixel is a number"),
        (encode(np.where(np.isnan(NAN), np.inf, NAN), "TIFF"), "infinite pixels"),
        (encode(np.full((40, 40), 9, np.uint8), "PNG"), "constant image, every pixel 9"),
        (encode(np.full((40, 40, 3), (9, 0, 0), np.uint8), "PNG"), "constant image, every"),
        (encode(np.full((40, 40), 999, np.uint16), "PNG"), "constant image, every pixel 999"),
        (huge_png(), "20000 x 20000 pixels, more than 178,956,970"),
    ],
)
def test_each_unusable_file_has_its_reason(tmp_path, data, reason):
    path = save(tmp_path, data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


def test_what_is_no_number_is_background(tmp_path):
    image = read_image(save(tmp_path, encode(NAN, "TIFF")))
    values = SMOOTH.astype(float)
    values[5, 5] = np.nan
    low, high = np.nanpercentile(values, (0.5, 99.5))
    expected = np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)
    expected[5, 5] = 0
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.conversion.startswith("1 pixels that are no number taken for background, black")


def test_nothing_there(tmp_path):
    with pytest.raises(ImageError, match="missing"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path)


def test_pixel_limit_is_checked_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(refusals, "MAX_PIXELS", 9 * 6 - 1)
    monkeypatch.setattr(raster.PngImageFile, "load", lambda _self: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match="9 x 6 pixels"):
        read_image(save(tmp_path, PNG))


def test_a_constant_but_one_pixel_is_kept(tmp_path):
    lonely = np.zeros((40, 40), np.uint8)
    lonely[17, 19] = 1
    assert read_image(save(tmp_path, encode(lonely, "PNG"))).pixels.sum() == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("data", [PNG, JPEG, TIFF], ids=["png", "jpeg", "tiff"])
def test_damaged_bytes_raise_nothing_else(tmp_path, data):
    generator = np.random.default_rng(2)
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(0, min(len(data), 400), 6):
            damaged[place] = generator.integers(256)
        path = save(tmp_path, bytes(damaged))
        try:
            assert read_image(path).pixels.dtype == np.uint8
        except ImageError as refused:
            assert str(refused)  # noqa: PT017
