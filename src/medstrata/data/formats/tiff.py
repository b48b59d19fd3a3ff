"""What Pillow does not see of a TIFF: pages that are lost or no pictures, other kinds of numbers.

Pillow decodes; `TiffFile` tells it how to, where it does not know the numbers of a file's one
channel or takes them wrongly.
"""

import ctypes
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import _imaging
from PIL.TiffImagePlugin import COMPRESSION_INFO, TiffImageFile

from medstrata.data.formats.refusals import ImageError

# Tags.
_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 258, 259, 262, 266
_DESCRIPTION, _CHANNELS, _STRIP_BYTES, _PLANES, _EXTRA, _NUMBERS = 270, 277, 279, 284, 338, 339
_OFFSETS = {273, 324}  # of strips and of tiles
_LONG = 4  # the type of a tag's value
_KINDS = {1: "u", 2: "i", 3: "f"}  # of the tag of numbers
# What Pillow is told instead of a kind, by bits: numbers that it copies, whatever they mean.
_COPIED = {8: 1, 16: 1, 32: 2, 64: 3}
_NOT_READ = {
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    22610: "JPEG XR",
    34661: "JBIG",
    34887: "LERC",
    50001: "WebP",
}


class TiffFile(TiffImageFile):
    """As Pillow's own, for numbers of 8, 16, 32 and 64 bits in one channel, in either byte order.

    Attributes:
        numbers: What the one channel holds, where Pillow's pixels are their bytes.
        inverted: Whether such numbers mean white by zero.

    Raises:
        ImageError: it is of a kind that is not read; the words name it, and what to do.
    """

    numbers: np.dtype[Any] | None
    inverted: bool

    def _setup(self) -> None:
        """What Pillow makes of a directory: the mode of the image, and how to unpack it."""
        tags = self.tag_v2
        compression = tags.get(_COMPRESSION, 1)
        if compression in _NOT_READ or compression not in COMPRESSION_INFO:
            name = _NOT_READ.get(compression, f"method {compression}")
            raise ImageError(
                f"TIFF compressed by {name}, which is not read: save it with LZW or deflate"
            )
        self.numbers = _numbers(tags)
        self.inverted = tags.get(_PHOTOMETRIC) == 0
        if self.numbers is not None:
            bits = 8 * self.numbers.itemsize
            tags[_PHOTOMETRIC], tags[_NUMBERS] = 1, _COPIED[bits]
            tags[_BITS] = min(bits, 32)  # Pillow unpacks doubles, but knows them of no TIFF
        try:
            super()._setup()
        except (SyntaxError, IndexError) as error:
            if not tags.keys() & _OFFSETS:
                raise
            raise ImageError(_unknown_kind(tags)) from error
        if self.numbers is not None and self.numbers.itemsize > 2:
            self.tile = [_unpacked(tile, self.numbers.itemsize) for tile in self.tile]


def _numbers(tags: Any) -> "np.dtype[Any] | None":
    bits, kind = _tuple(tags.get(_BITS, 1)), _tuple(tags.get(_NUMBERS, 1))
    one_channel = len(bits) == len(kind) == tags.get(_CHANNELS, 1) == 1
    grey = tags.get(_PHOTOMETRIC, 0) in (0, 1) and tags.get(_FILL_ORDER, 1) == 1
    if not one_channel or not grey or kind[0] not in _KINDS or bits[0] not in _COPIED:
        return None
    letter = _KINDS[kind[0]]
    known = {"u": (16, 32), "i": (8, 16, 32), "f": (16, 32, 64)}  # bytes are Pillow's affair
    return np.dtype(f"{letter}{bits[0] // 8}") if bits[0] in known[letter] else None


def _unpacked(tile: Any, size: int) -> Any:
    """A tile whose numbers are unpacked as they are.

    What libtiff unpacks has the order of this machine, which Pillow knows of 16 bits alone.
    """
    how, *rest = tile.args
    if size == 8:
        how = how.replace("32", "64")
    if tile.codec_name == "libtiff":
        how = re.sub(r"(\d)B?(S|F)$", r"\1N\2", how)
    elif size == 8:
        rest = [2 * rest[0], *rest[1:]]  # bytes of a line that is longer than the image
    return tile._replace(args=(how, *rest))


def _unknown_kind(tags: Any) -> str:
    bits, kind = _tuple(tags.get(_BITS, 1)), _tuple(tags.get(_NUMBERS, 1))
    channels = tags.get(_CHANNELS, 1)
    names = {"u": "whole numbers", "i": "signed numbers", "f": "floats"}
    what = names.get(_KINDS.get(kind[0], ""), "numbers of an unknown kind")
    planes = " in planes of their own" if tags.get(_PLANES, 1) == 2 and channels > 1 else ""
    plural = "channel" if channels == 1 else "channels"
    return (
        f"TIFF of {channels} {plural}{planes}, {what} of {bits[0]} bits, which is not read: save "
        "it as grey of 8 to 64 bits or RGB of 8 or 16, more channels as pages"
    )


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,)


def numbers_of(decoded: Pillow.Image) -> NDArray[Any]:
    """The numbers of a decoded image, shape (H, W)."""
    pixels, numbers = np.asarray(decoded), getattr(decoded, "numbers", None)
    if numbers is None or numbers.itemsize != pixels.dtype.itemsize:
        return pixels  # doubles come as single floats
    return pixels.view(numbers.newbyteorder(pixels.dtype.byteorder))


def is_apart(opened: TiffImageFile) -> bool:
    """Whether channels stand in planes of their own, of which Pillow reads bytes alone."""
    return bool(opened.tag_v2.get(_PLANES, 1) == 2)


def left_out_channels(opened: TiffImageFile) -> int:
    """Channels beyond grey or colour that mean nothing in particular and are not looked at."""
    return sum(kind == 0 for kind in _tuple(opened.tag_v2.get(_EXTRA, ())))


@dataclass(frozen=True)
class Pages:
    """The images of a file.

    Attributes:
        reduced: Of each directory, whether it is a reduced copy of another image.
        cut: Whether more directories are named than the file holds.
        stacked: Images that ImageJ says to have put behind the one directory, that one included.
        held: How many of these the file's bytes are enough for; 1 where another program has taken
            one image out of a stack and left the words of ImageJ as they were.
    """

    reduced: list[bool]
    cut: bool
    stacked: int = 1
    held: int = 1

    @property
    def first(self) -> int:
        """The first that is no reduced copy; 0 where all are."""
        return self.reduced.index(False) if False in self.reduced else 0

    @property
    def is_stack(self) -> bool:
        """Whether the images follow each other behind one directory."""
        return min(self.stacked, self.held) > 1

    @property
    def wanted(self) -> list[int]:
        """All but reduced copies, and one more where the file does not hold all that it names."""
        if self.is_stack:
            return list(range(min(self.stacked, self.held + 1)))
        whole = [page for page, reduced in enumerate(self.reduced) if not reduced]
        lost = [len(self.reduced)] if self.cut else []
        return (whole or list(range(len(self.reduced)))) + lost or [0]

    def notes(self, page: int | None) -> list[str]:
        """What is to be said of a page, or of the one that stands for the file."""
        if self.is_stack:
            return [f"image {(page or 0) + 1} of {self.stacked} of an ImageJ stack"]
        count = len(self.reduced)
        said = [f"first of {self.stacked} pages that ImageJ names"] if self.stacked > 1 else []
        if page is None and self.first:
            said.append(f"page {self.first + 1}: those before are reduced copies")
        if page is not None or (self.reduced.count(False) or count) > 1:
            said.append(f"first of {count} pages" if page is None else f"page {page + 1}")
        if page is None and self.cut:
            said.append(f"cut off behind {count} pages: others are lost")
        return said


def find_pages(opened: TiffImageFile, data: bytes) -> Pages:
    """Look for the images of a file.

    Args:
        opened: Its first page.
        data: The whole file.
    """
    reduced, cut = _directories(data)
    words = str(opened.tag_v2.get(_DESCRIPTION, ""))
    count = re.search(r"^images=(\d+)", words, re.MULTILINE) if "ImageJ=" in words[:32] else None
    plain = all(tile.codec_name == "raw" for tile in opened.tile)
    if count is None or not plain or len(reduced) > 1:
        return Pages(reduced, cut)
    start = min(tile.offset for tile in opened.tile)
    held = (len(data) - start) // max(1, strip_bytes(opened))
    return Pages(reduced, cut, int(count[1]), held)


def strip_bytes(opened: TiffImageFile) -> int:
    """Bytes of an image's pixels in the file."""
    return sum(map(int, _tuple(opened.tag_v2.get(_STRIP_BYTES, 0))))


def _directories(data: bytes) -> tuple[list[bool], bool]:
    """Whether each directory is of a reduced copy, and whether the chain leads out of the file."""
    big = data[2:4] in (b"+\0", b"\0+")
    head, size, link = (8, 20, 8) if big else (2, 12, 4)

    def number(place: int, length: int) -> int:
        return int.from_bytes(data[place : place + length], "little" if data[:1] == b"I" else "big")

    reduced, seen = list[bool](), set[int]()
    place = number(8 if big else 4, link)
    while place and place not in seen:
        seen.add(place)
        end = place + head + number(place, head) * size
        if place + head > len(data) or end > len(data):
            return reduced, True
        entries = range(place + head, end, size)
        kinds = (
            number(at + size - link, 4 if number(at + 2, 2) == _LONG else 2)
            for at in entries
            if number(at, 2) == _SUBFILE_TYPE
        )
        reduced.append(bool(next(kinds, 0) & 1))
        place = number(end, link)
    return reduced, False


@contextmanager
def quiet_tiff() -> Iterator[None]:
    """Keep libtiff and Pillow from printing of damaged files; what they say is raised as well."""
    logger = logging.getLogger(TiffImageFile.__module__)
    setters, before, was_disabled = _handler_setters(), [], logger.disabled
    try:
        logger.disabled = True
        before += [set_handler(None) for set_handler in setters]
        yield
    finally:
        logger.disabled = was_disabled
        for set_handler, handler in zip(setters, before, strict=True):
            set_handler(handler)


def _handler_setters() -> list[Any]:
    """Functions of the libtiff that Pillow has loaded: each takes a handler, gives the last one."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        setters = [library.TIFFSetErrorHandler, library.TIFFSetWarningHandler]
    except (OSError, AttributeError):  # a build that hides it
        return []
    for set_handler in setters:
        set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return setters
