"""Pictures of the formats that Pillow reads to pixels; PNG by OpenCV where it can.

Legend: H W height and width.
"""

import io
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.WebPImagePlugin import WebPImageFile

from medstrata.data.formats.grey_levels import colour_levels, to_bytes, to_depth, window_values
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError, refuse_too_large
from medstrata.data.formats.tiff import (
    Pages,
    TiffFile,
    find_pages,
    is_apart,
    left_out_channels,
    numbers_of,
    strip_bytes,
)

# Pillow's own `open` would warn through a process-wide limit, so each decoder is called by name.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffFile,
    "WebP": WebPImageFile,
    "JPEG 2000": Jpeg2KImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "PNM": PpmImageFile,
}
PHOTOGRAPHS = tuple(_DECODERS)

_PLAIN = ("L", "RGB", "RGBA", "I;16")  # of a PNG, what OpenCV makes the same pixels of
# What an orientation may stand in, before the pixels of a PNG or after them.
_ORIENTED = (b"eXIf", b"Raw profile type exif", b"com.adobe.xmp")

_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def list_pages(data: bytes, name: str) -> list[int]:
    """Numbers of the images in a file: those of a TIFF as `Pages.wanted`, else all it animates."""
    opened = _open(data, name)
    if isinstance(opened, TiffFile):
        return find_pages(opened, data).wanted
    return list(range(getattr(opened, "n_frames", 1)))


def read_photographs(
    data: bytes,
    name: str,
    pages: Sequence[int | None],
    reading: ReadSettings,
    smallest_side: int | None,
) -> Iterator[DecodedImage]:
    """Decode images of a file.

    Args:
        data: The whole file.
        name: Its format, one of `PHOTOGRAPHS`.
        pages: From 0, ascending; None for the first, of a TIFF the first that is no reduced copy.
        reading: Window and depth.
        smallest_side: Sides in pixels that suffice. A large JPEG is then decoded at 1/2, 1/4 or
            1/8, as long as both sides are not below it, which takes a fraction of the time.

    Yields:
        Pixels of each, upright, and their record.

    Raises:
        ImageError: one has more than `MAX_PIXELS` pixels or holds non-finite numbers.
        Exception: whatever Pillow raises on damaged bytes.
    """
    decoded = _open(data, name)
    found = find_pages(decoded, data) if isinstance(decoded, TiffFile) else None
    for number, page in enumerate(pages):
        # A page is found by way of all before it, so a file is walked through once. Only a page
        # that was loaded already is read from the start: Pillow does not load it again.
        if number and (found is None or found.is_stack or (page or 0) <= decoded.tell()):
            decoded = _open(data, name)
        if found is not None and isinstance(decoded, TiffFile):
            _go_to(decoded, found, page)
        elif page is not None:
            decoded.seek(page)
        notes = _page_notes(decoded, page) if found is None else found.notes(page)
        yield _read(decoded, data, name, reading, smallest_side, notes)


def _go_to(decoded: TiffFile, pages: Pages, page: int | None) -> None:
    """Let a TIFF's next pixels be those of a page, or of the one that stands for the file."""
    if pages.is_stack:
        if page is not None and page >= pages.held:
            raise ImageError(f"truncated TIFF: {pages.held} of {pages.stacked} images are in it")
        size = strip_bytes(decoded) * (page or 0)
        decoded.tile = [tile._replace(offset=tile.offset + size) for tile in decoded.tile]
        return
    number = pages.first if page is None else page
    if number >= len(pages.reduced):
        raise ImageError(f"truncated TIFF: page {number + 1} and what follows are cut off")
    decoded.seek(number)


def _page_notes(opened: ImageFile.ImageFile, page: int | None) -> list[str]:
    pages = getattr(opened, "n_frames", 1)
    if pages == 1:
        return []
    return [f"first of {pages} pages" if page is None else f"page {page + 1}"]


def _read(
    opened: ImageFile.ImageFile,
    data: bytes,
    name: str,
    reading: ReadSettings,
    smallest_side: int | None,
    notes: list[str],
) -> DecodedImage:
    mode, (width, height) = opened.mode, opened.size
    refuse_too_large(width, height)
    if isinstance(opened, TiffFile):
        _refuse_gaps(opened)
        if opened.mode not in _DEEP and _bits(opened, data, name) == 16 and is_apart(opened):
            raise ImageError("TIFF of 16-bit colour in separate planes: save it interleaved")
        mode = opened.mode if opened.numbers is None else str(opened.numbers)
        if left_out := left_out_channels(opened):
            notes.append(f"channels beyond {opened.mode} left out: {left_out}")
    if smallest_side is not None:
        opened.draft(None, (smallest_side, smallest_side))  # nothing in other formats
        if opened.size != (width, height):
            notes.append(f"decoded at 1/{opened.decoderconfig[0]}")
    if name == "PNM" and (values := _deep_pnm(opened, data)) is not None:
        return DecodedImage(
            pixels=_deep_levels(values, reading, notes),
            width=width,
            height=height,
            mode=mode,
            notes=notes,
        )
    decoded = _decode_png(opened, data) if name == "PNG" else opened
    decoded.load()
    upright, sideways = _turn_upright(decoded, notes)
    return DecodedImage(
        pixels=_to_levels(upright, data, name, opened.tell(), reading, notes),
        width=height if sideways else width,
        height=width if sideways else height,
        mode=mode,
        notes=notes,
    )


def _open(data: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header alone."""
    try:
        return _DECODERS[name](io.BytesIO(data))
    except SyntaxError as error:
        what = _jpeg_kind(data) if name == "JPEG" else None
        raise ImageError(what or f"{name} with a truncated or unsupported header") from error


def _jpeg_kind(data: bytes) -> str | None:
    """What of a JPEG's header is not read: JPEG-LS, or more than 8 bits; None for anything else."""
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 < len(data):
        marker = data[place + 1]
        if marker == 0xF7:
            return "JPEG-LS, which is read in DICOM alone: save it as PNG"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = data[place + 4]
            words = f"JPEG of {bits} bits, which is read in DICOM alone: save it as 16-bit PNG"
            return words if bits > 8 else None
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def _decode_png(opened: ImageFile.ImageFile, data: bytes) -> Pillow.Image:
    """The image of a PNG, whose pixels OpenCV decodes: it passes over no damage, as Pillow does.

    Palettes, transparency, animations and orientations stay Pillow's.
    """
    page = opened.tell()
    try:
        (
            _open(data, "PNG") if page else opened
        ).verify()  # checksums and end, of which libpng would print a line of its own
    except SyntaxError as error:
        raise ValueError(str(error)) from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("pixel data that do not decode, or too few")
    if (
        opened.mode not in _PLAIN
        or "transparency" in opened.info
        or getattr(opened, "is_animated", False)
        or any(word in data for word in _ORIENTED)
    ):
        again = _open(data, "PNG")
        again.seek(page)
        return again
    if pixels.ndim == 3:
        eight = to_bytes(pixels)
        order = cv2.COLOR_BGR2RGB if eight.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = cv2.cvtColor(eight, order)
    return Pillow.fromarray(pixels)


def _deep_pnm(opened: ImageFile.ImageFile, data: bytes) -> NDArray[np.uint16] | None:
    """Values of a PNM of more than 8 bits, as they are; Pillow spreads them over 8 or 16.

    Returns:
        Shape (H, W) or (H, W, 3); None where there are 8 bits at most, or colours as text.
    """
    tile, (width, height) = opened.tile[0], opened.size
    most = tile.args[1] if isinstance(tile.args, tuple) else 0
    if opened.mode != "I" and most < 256:
        return None
    if tile.codec_name == "ppm_plain":
        spread = np.asarray(opened)
        return np.rint(spread * (most / 65535)).astype(np.uint16) if spread.ndim == 2 else None
    shape = (height, width) if data[1:2] == b"5" else (height, width, 3)
    count = math.prod(shape)
    if len(data) < tile.offset + 2 * count:
        raise ImageError("truncated PNM")
    return np.frombuffer(data, ">u2", count, tile.offset).astype(np.uint16).reshape(shape)


def _deep_levels(values: NDArray[Any], reading: ReadSettings, notes: list[str]) -> NDArray[Any]:
    if values.ndim == 3:
        return colour_levels(values, 16, reading, notes)
    return window_values(values, reading.window, reading.bits, notes)


def _refuse_gaps(decoded: ImageFile.ImageFile) -> None:
    """Refuse a TIFF that has strips or tiles for a part of its pixels; Pillow leaves gaps black."""
    held = 0
    for tile in decoded.tile:
        left, top, right, bottom = tile.extents or (0, 0, *decoded.size)
        held += (right - left) * (bottom - top)
    if held < decoded.width * decoded.height:
        raise ImageError("truncated TIFF: it has not all of its strips or tiles")


def _turn_upright(decoded: Pillow.Image, notes: list[str]) -> tuple[Pillow.Image, bool]:
    """Apply the EXIF orientation; also says whether width and height have changed places."""
    try:
        orientation = decoded.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        notes.append("unreadable EXIF ignored")
        return decoded, False
    # Pillow turns TIFF upright while loading and then reports 1.
    if orientation not in _UPRIGHT:
        return decoded, False
    notes.append(f"EXIF orientation {orientation} applied")
    return decoded.transpose(_UPRIGHT[orientation]), orientation >= 5


def _to_levels(
    decoded: Pillow.Image,
    data: bytes,
    name: str,
    page: int,
    reading: ReadSettings,
    notes: list[str],
) -> NDArray[Any]:
    if decoded.mode in _DEEP or getattr(decoded, "numbers", None) is not None:
        inverted = getattr(decoded, "inverted", False)
        values = numbers_of(decoded)
        return window_values(values, reading.window, reading.bits, notes, inverted=inverted)
    if _bits(decoded, data, name) == 16:
        shown = _to_rgb(decoded, notes)
        colours = _deep_colours(data, name, page, shown)
        if colours is None:
            notes.append("16-bit colour to 8 bits: high byte kept")
            return to_depth(shown, reading.bits)
        return colour_levels(colours, 16, reading, notes)
    if decoded.mode in ("1", "L"):
        grey = decoded if decoded.mode == "L" else decoded.convert("L")
        return to_depth(np.asarray(grey), reading.bits)
    return to_depth(_to_rgb(decoded, notes), reading.bits)


def _deep_colours(
    data: bytes, name: str, page: int, shown: NDArray[np.uint8]
) -> NDArray[np.uint16] | None:
    """Colours of 16 bits, which Pillow cuts to their high bytes: (H, W, 3), over black.

    Args:
        data: The whole file.
        name: Its format.
        page: Of a TIFF.
        shown: The high bytes, upright, shape (H, W, 3).

    Returns:
        None where OpenCV, which reads them, sees another picture than Pillow, as one not upright.
    """
    encoded = np.frombuffer(data, np.uint8)
    found: Sequence[Any]
    if name == "TIFF":
        _, found = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    else:
        found = [cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)]
    deep = found[0] if len(found) else None
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return None
    colours = deep[..., 2::-1]
    if deep.shape[2] == 4:
        share = deep[..., 3:].astype(np.float64) / 65535
        colours = np.rint(colours * share).astype(np.uint16)
    if colours.shape != shown.shape:
        return None
    whole: NDArray[np.uint16] = np.ascontiguousarray(colours, dtype=np.uint16)
    apart = np.abs((whole >> 8).astype(np.int16) - shown)
    return whole if int(apart.max()) <= 1 else None


def _bits(decoded: Pillow.Image, data: bytes, name: str) -> int:
    """Bits of a sample in the file, where Pillow makes bytes of wider ones."""
    if name == "PNG":
        return data[24]  # of the header
    return max(map(int, getattr(decoded, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))))


def _to_rgb(decoded: Pillow.Image, notes: list[str]) -> NDArray[np.uint8]:
    if decoded.mode == "RGB":
        return np.asarray(decoded)
    notes.append(f"{decoded.mode} to RGB")
    if decoded.has_transparency_data:
        rgba = decoded.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes[-1] += " over black"
            rgba = Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
        decoded = rgba
    return np.asarray(decoded.convert("RGB"))
