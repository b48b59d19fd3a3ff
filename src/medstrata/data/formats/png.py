"""Inflating the pixels of a PNG file with libdeflate, before Pillow reads it.

Pillow inflates row by row, which takes most of its time with a PNG. Here all rows are inflated in
one call and go back into the file as stored blocks, which a decoder need only copy. Filters,
palettes, interlacing and transparency stay Pillow's, and so every pixel is what Pillow makes it.
"""

import struct
from collections.abc import Iterator

import deflate

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
_WHOLE = ((0, 0, 1, 1),)
# First column, first row, step in columns and in rows of the seven passes.
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_BLOCK = 65_535  # most bytes of a stored block
_SPARE = 65_536  # bytes too many that a file may hold; other decoders, too, pass over them


def inflate_png(data: bytes) -> bytes:
    """Inflate the pixels of a PNG file.

    What Pillow lets pass is refused: pixel data with a wrong CRC, and fewer rows than there should
    be, which Pillow leaves black.

    Args:
        data: The file. Its header is known to be sound and its size to be bearable.

    Returns:
        A PNG file of the same image whose pixels are stored without compression.

    Raises:
        ValueError: the pixel data are truncated or damaged.

    Source:
        PNG specification, third edition, sections 5, 8 and 10; RFC 1950; RFC 1951, section 3.2.4.
    """
    first, end, packed = _pixel_data(data)
    length = _inflated_length(data)
    try:
        rows = deflate.zlib_decompress(packed, length + _SPARE)
    except deflate.DeflateError as error:
        word = "damaged" if end < len(data) else "truncated"
        raise ValueError(f"{word} pixel data") from error
    if len(rows) < length:
        raise ValueError(f"truncated pixel data, {len(rows)} of {length} bytes")
    stored = list(_stored(memoryview(rows)[:length]))
    crc = deflate.crc32(b"IDAT")
    for part in stored:
        crc = deflate.crc32(part, crc)
    size = struct.pack(">I", sum(map(len, stored)))
    return b"".join((data[:first], size, b"IDAT", *stored, struct.pack(">I", crc), data[end:]))


def _pixel_data(data: bytes) -> tuple[int, int, bytes]:
    """Where the chunks of pixel data begin and end, and what they hold together."""
    if data[12:16] != b"IHDR":
        raise ValueError("header not in front")
    first = 8
    while (kind := data[first + 4 : first + 8]) != b"IDAT":
        if len(kind) < 4:
            raise ValueError("image file is truncated before its pixels")
        first += 12 + int.from_bytes(data[first : first + 4])
    bodies, place = [], first
    while data[place + 4 : place + 8] == b"IDAT":
        end = place + 12 + int.from_bytes(data[place : place + 4])
        if end > len(data):
            raise ValueError("image file is truncated")
        if deflate.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError("pixel data with a wrong CRC")
        bodies.append(data[place + 8 : end - 4])
        place = end
    return first, place, b"".join(bodies)


def _inflated_length(data: bytes) -> int:
    """Bytes of all rows, each with its filter in front, from the header."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    length = 0
    for left, top, right, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0:
            length += rows * (1 + -(-columns * depth * _SAMPLES[colour] // 8))
    return length


def _stored(rows: memoryview) -> Iterator[bytes | memoryview]:
    """A zlib stream of stored blocks, in pieces."""
    yield b"\x78\x01"
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        last = start + _BLOCK >= len(rows)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF)
        yield block
    yield struct.pack(">I", deflate.adler32(rows))
