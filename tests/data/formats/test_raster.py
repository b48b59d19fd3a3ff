"""Photographs of every format against other decoders: OpenCV and tifffile."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medstrata.data.formats.read import list_frames, read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from support.read_one import read_image

GENERATOR = np.random.default_rng(14)
GREY = GENERATOR.integers(0, 256, (40, 56), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (40, 56, 3), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 65536, (40, 56)).astype(np.uint16)
SMOOTH = cv2.GaussianBlur(RGB, (0, 0), 4)


def save(folder: Path, pixels: np.ndarray, form: str, **options: object) -> Path:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, form, **options)
    path = folder / "image"
    path.write_bytes(stream.getvalue())
    return path


def by_opencv(path: Path) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


@pytest.mark.parametrize(
    ("form", "pixels", "options"),
    [
        ("WEBP", RGB, {"lossless": True}),
        ("WEBP", SMOOTH, {"quality": 80}),
        ("JPEG2000", RGB, {}),
        ("JPEG2000", GREY, {"no_jp2": True}),
        ("JPEG2000", SMOOTH, {"irreversible": True, "quality_layers": [20]}),
        ("PNG", RGB, {}),
        ("BMP", RGB, {}),
        ("BMP", GREY, {}),
        ("PPM", RGB, {}),
        ("PPM", GREY, {}),
        ("TIFF", RGB, {"compression": "tiff_lzw"}),
        ("TIFF", GREY, {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_equal_to_opencv(tmp_path, form, pixels, options):
    path = save(tmp_path, pixels, form, **options)
    ours, theirs = read_image(path).pixels, by_opencv(path)
    lossy = bool(options.keys() & {"quality", "irreversible"})
    assert np.abs(ours.astype(int) - theirs).max() <= (1 if lossy else 0)
    if not lossy:
        np.testing.assert_array_equal(ours, pixels)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}]
)
@pytest.mark.parametrize("pixels", [SMOOTH, SMOOTH[..., 0]], ids=["colour", "grey"])
def test_jpeg_is_near_opencv(tmp_path, pixels, options):
    path = save(tmp_path, pixels, "JPEG", **options)
    assert np.abs(read_image(path).pixels.astype(int) - by_opencv(path)).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000"])
def test_16_bits_into_16_bits(tmp_path, form):
    image = read_image(save(tmp_path, DEEP, form), ReadSettings(window="32767.5/65535", bits=16))
    np.testing.assert_array_equal(image.pixels, DEEP)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("pixels", [GREY, RGB, DEEP], ids=["grey", "colour", "deep"])
def test_tiff_against_tifffile(tmp_path, compression, tile, pixels):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "x.tif"
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    predictor = compression in ("lzw", "zlib")
    tifffile.imwrite(
        path, pixels, compression=compression, tile=tile, photometric=kind, predictor=predictor
    )
    image = read_image(path, ReadSettings(window="32767.5/65535", bits=16))
    theirs = tifffile.imread(path)
    expected = theirs if theirs.dtype == np.uint16 else theirs * np.uint16(257)
    np.testing.assert_array_equal(image.pixels, expected)


# Of big-endian BigTIFF Pillow 13 says that it is corrupt.
@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", False), (">", False), ("<", True)])
def test_byte_orders_and_bigtiff(tmp_path, byteorder, bigtiff):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, DEEP, byteorder=byteorder, bigtiff=bigtiff)
    image = read_image(path, ReadSettings(window="32767.5/65535", bits=16))
    np.testing.assert_array_equal(image.pixels, DEEP)


def test_16_bit_colour_keeps_the_high_byte_and_says_so(tmp_path):
    deep = GENERATOR.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.png"), deep[..., ::-1])
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb")
    for name in ("x.png", "x.tif"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.pixels, deep >> 8)
        assert image.conversion == "16-bit colour to 8 bits: high byte kept"


SHALLOW = (np.arange(2240).reshape(40, 56) * 4095 // 2239).astype(np.uint16)  # 12 bits in 16
ALPHA = np.full_like(SHALLOW, 65535)


@pytest.mark.parametrize("channels", [(SHALLOW,) * 3, (SHALLOW, SHALLOW, SHALLOW, ALPHA)], ids=len)
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_equal_channels_of_16_bits_are_the_same_picture_as_grey(tmp_path, channels, name):
    deep = np.stack(channels, -1)
    if name == "x.png":
        cv2.imwrite(str(tmp_path / name), deep)
    else:
        extra = ["unassalpha"] if len(channels) == 4 else None
        tifffile.imwrite(tmp_path / name, deep, photometric="rgb", extrasamples=extra)
    cv2.imwrite(str(tmp_path / "grey.png"), SHALLOW)
    for settings in (ReadSettings(), ReadSettings(window="full", bits=16)):
        image = read_image(tmp_path / name, settings)
        np.testing.assert_array_equal(
            image.pixels, read_image(tmp_path / "grey.png", settings).pixels
        )


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_colour_that_leaves_its_bits_empty_is_scaled_by_one_range(tmp_path, name):
    deep = np.stack([SHALLOW, SHALLOW // 2, SHALLOW // 4], -1)
    if name == "x.png":
        cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
    else:
        tifffile.imwrite(tmp_path / name, np.stack([deep[::-1], deep]), photometric="rgb")
    settings = ReadSettings(window="full", frames="all")
    (image,) = read_images(tmp_path / name, [1 if name == "x.tif" else None], settings)
    np.testing.assert_array_equal(image.pixels, np.rint(deep / 4095 * 255))
    low, high = np.percentile(deep, (0.5, 99.5))
    (image,) = read_images(tmp_path / name, [1 if name == "x.tif" else None], ReadSettings())
    np.testing.assert_array_equal(
        image.pixels, np.rint(np.clip((deep - low) / (high - low), 0, 1) * 255)
    )


def test_16_bit_colour_in_planes_is_refused(tmp_path):
    planes = np.stack([DEEP, DEEP // 2, DEEP // 3])
    tifffile.imwrite(tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="separate planes: save it interleaved"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("most", [1000, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P5", "P6"])
def test_pnm_of_more_than_8_bits_has_its_values(tmp_path, kind, most):
    shape = (20, 30, 3) if kind == "P6" else (20, 30)
    values = GENERATOR.integers(0, most + 1, shape)
    header = f"{kind}\n# made up\n30 20\n{most}\n".encode()
    text = " ".join(map(str, values.ravel())).encode()
    path = tmp_path / "x.pnm"
    path.write_bytes(header + (text if kind == "P2" else values.astype(">u2").tobytes()))
    image = read_image(path, ReadSettings(window="500/1000"))
    expected = np.rint(np.clip(values / 1000, 0, 1) * 255)
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.format, image.width, image.height) == ("PNM", 30, 20)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_every_image_of_an_animation_is_read(tmp_path, form):
    frames = [Pillow.fromarray(np.roll(GREY, 9 * number, axis=1)) for number in range(4)]
    path = tmp_path / "x"
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(path, form, save_all=True, append_images=frames[1:], **options)
    assert list(list_frames(path, "axial")) == [0, 1, 2, 3]
    for image, frame in zip(read_images(path, [0, 2, 3], ReadSettings()), (0, 2, 3), strict=True):
        np.testing.assert_array_equal(image.pixels, np.asarray(frames[frame]))
        assert image.conversion.startswith(f"page {frame + 1}")
    assert read_image(path).conversion.startswith("first of 4 pages")


def test_missing_strips_are_not_black(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, GREY, rowsperstrip=8)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags["ImageLength"].valueoffset
    data[place : place + 2] = (4000).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(ImageError, match="not all of its strips"):
        read_image(path)


def test_palette_with_transparency(tmp_path):
    image = Pillow.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    image.save(tmp_path / "x.png", transparency=bytes([255, 0, 255]))
    read = read_image(tmp_path / "x.png")
    assert read.pixels.tolist() == [[[10, 20, 30], [0, 0, 0]], [[7, 8, 9], [0, 0, 0]]]
    assert read.conversion == "P to RGB over black"


def test_cmyk_jpeg_of_adobe(tmp_path):
    """Adobe writes ink inverted; Pillow's own writer does so too, with its marker."""
    ink = np.zeros((32, 32, 4), np.uint8)
    ink[:, 16:] = (0, 255, 255, 0)  # none, and magenta with yellow
    Pillow.fromarray(ink, "CMYK").save(tmp_path / "x.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "x.jpg").read_bytes()[:200]
    pixels = read_image(tmp_path / "x.jpg").pixels.astype(int)
    assert np.abs(pixels[8, 4] - [255, 255, 255]).max() <= 3
    assert np.abs(pixels[8, 28] - [255, 0, 0]).max() <= 3
    theirs = cv2.imread(str(tmp_path / "x.jpg"))[..., ::-1]
    assert np.abs(pixels - theirs).max() <= 6


def test_store_of_16_bits(tmp_path):
    """Its statistics, whose squares exceed 64 bits in large stores, are those of its pixels."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        bright = GENERATOR.integers(60000, 65536, (24, 24)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), bright)
    store = prepare(
        tmp_path / "images", tmp_path / "out", PrepareSettings(bits=16, window="32767.5/65535")
    )
    assert store.dtype == np.uint16
    for row, name in enumerate(store.manifest["source"]):
        pixels = cv2.imread(str(tmp_path / "images" / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(store[row][..., 0], pixels)
    train = store.read(store.rows("train")) / 65535
    np.testing.assert_allclose(store.mean, [train.mean()], rtol=1e-12)
    np.testing.assert_allclose(store.std, [train.std()], rtol=1e-9)
