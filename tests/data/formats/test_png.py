import io
import struct
import zlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from medstrata.data.formats.png import _ADAM7, _BLOCK, inflate_png

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


def assert_same(data: bytes) -> None:
    plain, inflated = pillow(data), pillow(inflate_png(data))
    assert (inflated.mode, inflated.size) == (plain.mode, plain.size)
    assert inflated.tobytes() == plain.tobytes()
    assert inflated.info == plain.info
    assert inflated.getpalette() == plain.getpalette()


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_decodes_as_before(colour, depth, size, interlaced):
    data = make(colour, depth, size, interlaced)
    assert pillow(data).getbbox() is not None or size[0] < 8  # the case tells something
    assert_same(data)


@pytest.mark.parametrize(("colour", "body"), [(0, b"\0\7"), (2, b"\0\1\0\2\0\3"), (3, b"\0\x80")])
def test_transparency_stays(colour, body):
    data = make(colour, 8, (30, 20), before=chunk(b"tRNS", body))
    assert "transparency" in pillow(inflate_png(data)).info
    assert_same(data)


@pytest.mark.parametrize("rows", [1, 3])
def test_blocks_that_are_just_full(rows):
    assert_same(make(0, 8, (_BLOCK - 1, rows)))


def test_what_stands_before_and_after_the_pixels_stays():
    text = PngInfo()
    text.add_itxt("key", "value")
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), (1, 2, 3)).save(stream, "PNG", pnginfo=text, exif=exif)
    assert_same(stream.getvalue())
    assert pillow(inflate_png(stream.getvalue())).getexif()[0x0112] == 6


@pytest.mark.parametrize("size", [(300, 260), (_BLOCK // 2, 2)], ids=str)
def test_the_result_is_a_png_to_a_strict_reader_too(size):
    data = make(0, 16, size)  # libpng checks the CRC of every chunk, the Adler-32 and the end
    inflated = cv2.imdecode(np.frombuffer(inflate_png(data), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(inflated, np.asarray(pillow(data)))


def test_too_much_data_is_passed_over_and_a_missing_end_too():
    assert_same(make(2, 8, (33, 21), extra=b"more than there should be"))
    assert_same(make(2, 8, (33, 21))[:-12])


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
        (GOOD[:8] + chunk(b"tEXt", b"a\0b") + GOOD[8:], "header not in front"),
        (GOOD[: FIRST - 9], "truncated before its pixels"),
        (GOOD[:FIRST], "truncated before its pixels"),
        (GOOD[: len(GOOD) // 2], "file is truncated"),
        (GOOD[: GOOD.index(b"IDAT", FIRST + 8) - 4], "truncated pixel data"),
        (with_byte(len(GOOD) // 2), "wrong CRC"),
        (with_byte(GOOD.index(b"IDAT", FIRST + 8) - 6), "wrong CRC"),
        (recompressed(lambda packed: packed[:-4] + b"\0\0\0\0"), "damaged pixel data"),
        (recompressed(lambda packed: packed[:-4]), "damaged pixel data"),
        (recompressed(lambda packed: packed[:1000]), "damaged pixel data"),
        (recompressed(lambda _: b""), "damaged pixel data"),
        (recompressed(lambda _: zlib.compress(bytes(10**6))), "damaged pixel data"),  # a bomb
        (make(0, 8, (300, 260), missing=301), "truncated pixel data, 77959 of 78260 bytes"),
        (make(6, 16, (33, 21), interlaced=True, missing=1), "truncated pixel data"),
    ],
)
def test_damage_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        inflate_png(data)
