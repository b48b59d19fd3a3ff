"""Our PNG rows against Pillow's pixels; damaged files are refused."""

import io
import re
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.raster import read_photographs
from medstrata.data.formats.read import read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError

# First column, first row, step in columns and in rows of the seven passes.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
KINDS = [(colour, depth) for colour, depths in DEPTHS.items() for depth in depths]
SIZES = [(1, 1), (3, 5), (8, 8), (33, 21), (300, 260)]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rows_of(generator, width, height, depth, colour) -> bytes:
    """Rows of random bytes behind random filters: whatever they decode to, it must be the same."""
    row = -(-width * depth * SAMPLES[colour] // 8)
    if not row:
        return b""
    rows = generator.integers(0, 256, (height, 1 + row), dtype=np.uint8)
    rows[:, 0] = generator.integers(0, 5, height)
    return rows.tobytes()


def make(colour, depth, size, interlaced=False, *, pieces=3, extra=b"", before=b"", missing=0):
    """A PNG file by hand: Pillow cannot write most kinds."""
    generator = np.random.default_rng([colour, depth, *size])
    width, height = size
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(
        rows_of(
            generator, -(-(width - x) // right), max(0, -(-(height - y) // down)), depth, colour
        )
        for x, y, right, down in passes
    )
    packed = zlib.compress(rows[: len(rows) - missing] + extra)
    cut = [round(len(packed) * part / pieces) for part in range(pieces + 1)]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = generator.integers(0, 256, 3 * 2 ** min(depth, 8), dtype=np.uint8).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", palette) if colour == 3 else b"",
            before,
            *(chunk(b"IDAT", packed[a:b]) for a, b in pairwise(cut)),
            chunk(b"tEXt", b"Comment\0after the pixels"),
            chunk(b"IEND", b""),
        )
    )


def pillow(data: bytes) -> Image.Image:
    image = PngImageFile(io.BytesIO(data))
    image.load()
    return image


def read(data: bytes, **options) -> DecodedImage:
    (image,) = read_photographs(data, "PNG", [None], ReadSettings(**options), None)
    return image


def as_rgb(image: Image.Image) -> np.ndarray:
    """What Pillow makes of an image over black."""
    if image.has_transparency_data:
        image = Image.alpha_composite(
            Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA")
        )
    return np.asarray(image.convert("RGB"))


def assert_same(data: bytes) -> None:
    plain = pillow(data)
    whole = {"window": "32767.5/65535", "bits": 16}
    image = read(data, **whole)
    assert image.mode == plain.mode
    if plain.mode == "I;16":
        np.testing.assert_array_equal(image.pixels, np.asarray(plain))
    elif plain.mode in ("1", "L"):
        np.testing.assert_array_equal(image.pixels, np.asarray(plain.convert("L")) * np.uint16(257))
    elif data[24] == 16:  # of which Pillow keeps the high byte
        levels = image.pixels if image.pixels.ndim == 3 else image.pixels[..., None]
        levels = np.broadcast_to(levels, (*levels.shape[:2], 3))
        np.testing.assert_allclose(levels, as_rgb(plain) * 257.0, atol=2 * 257)
    else:
        np.testing.assert_array_equal(image.pixels, as_rgb(plain) * np.uint16(257))


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_has_the_pixels_that_pillow_makes(colour, depth, size, interlaced):
    data = make(colour, depth, size, interlaced)
    if (colour, depth) in ((0, 16), (4, 16)) and np.ptp(
        np.asarray(pillow(data)), axis=(0, 1)
    ).max() == 0:
        pytest.skip("one value alone is refused")
    assert pillow(data).getbbox() is not None or size[0] < 8  # the case tells something
    assert_same(data)


@pytest.mark.parametrize(("colour", "body"), [(0, b"\0\7"), (2, b"\0\1\0\2\0\3"), (3, b"\0\x80")])
def test_transparency_stays(colour, body):
    data = make(colour, 8, (30, 20), before=chunk(b"tRNS", body))
    assert pillow(data).has_transparency_data
    assert_same(data)


@pytest.mark.parametrize("after", [False, True], ids=["before the pixels", "after them"])
def test_orientation_is_applied_wherever_it_stands(after):
    exif = Image.Exif()
    exif[0x0112] = 6
    said = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    data = make(2, 8, (40, 30), before=b"" if after else said)
    if after:
        data = data[:-12] + said + data[-12:]
    image = read(data)
    assert image.notes == ["EXIF orientation 6 applied"]
    upright = pillow(data).transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(image.pixels, np.asarray(upright))


def test_too_much_data_is_passed_over():
    assert_same(make(2, 8, (33, 21), extra=b"more than there should be"))


GOOD = make(0, 8, (300, 260))
FIRST = GOOD.index(b"IDAT") - 4


def with_byte(place: int) -> bytes:
    return GOOD[:place] + bytes([GOOD[place] ^ 0x10]) + GOOD[place + 1 :]


def recompressed(change) -> bytes:
    packed = b"".join(
        GOOD[place + 4 : place + 4 + int.from_bytes(GOOD[place - 4 : place])]
        for place in range(len(GOOD))
        if GOOD[place : place + 4] == b"IDAT"
    )
    return GOOD[:FIRST] + chunk(b"IDAT", change(packed)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD[:8] + chunk(b"tEXt", b"a\0b") + GOOD[8:], "damaged: pixel data that do not decode"),
        (GOOD[: FIRST - 9], "truncated"),
        (GOOD[:FIRST], "PNG with a truncated or unsupported header"),
        (GOOD[: len(GOOD) // 2], "truncated"),
        (GOOD[: GOOD.index(b"IDAT", FIRST + 8) - 4], "truncated"),
        (GOOD[:-12], "truncated"),
        (with_byte(len(GOOD) // 2), "damaged: .*checksum"),
        (with_byte(GOOD.index(b"IDAT", FIRST + 8) - 6), "damaged: .*checksum"),
        (recompressed(lambda packed: packed[:-4] + b"\0\0\0\0"), "damaged: pixel data"),
        (recompressed(lambda packed: packed[:1000]), "damaged: pixel data"),
        (recompressed(lambda _: b""), "damaged: pixel data"),
        (make(0, 8, (300, 260), missing=301), "damaged: pixel data"),
        (make(6, 16, (33, 21), interlaced=True, missing=1), "damaged: pixel data"),
    ],
)
def test_damage_is_refused(tmp_path, data, words, capfd):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    (image,) = read_images(path, [None], ReadSettings())
    assert isinstance(image, ImageError)
    assert re.match(words, str(image))
    if "pixel data" not in words:
        assert capfd.readouterr().err == ""  # libpng is not asked
