"""PNG, JPEG, TIFF, WebP and JPEG 2000 files to pixels, by Pillow; PNG by OpenCV where it can.

Legend: H W height and width.
"""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from medstrata.data.formats.grey_levels import colour_levels, to_bytes, to_depth, window_values
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError, refuse_too_large

# Pillow's own `open` would warn through a process-wide limit, so each decoder is called by name.
_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "WebP": WebPImageFile,
    "JPEG 2000": Jpeg2KImageFile,
}
PHOTOGRAPHS = tuple(_DECODERS)

_PLAIN = ("L", "RGB", "RGBA", "I;16")  # of a PNG, what OpenCV makes the same pixels of
# What an orientation may stand in, before the pixels of a PNG or after them.
_ORIENTED = (b"eXIf", b"Raw profile type exif", b"com.adobe.xmp")

_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 258, 262, 0
_SUBFILE_TYPE, _DESCRIPTION, _STRIP_BYTES, _PLANES = 254, 270, 279, 284  # tags of TIFF
_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def count_pages(data: bytes, name: str) -> int:
    """Images in a file: the pages of a TIFF, or its ImageJ stack; 1 for every other format."""
    if name != "TIFF":
        return 1
    opened = _open(data, name)
    return max(int(getattr(opened, "n_frames", 1)), _stacked(opened, data))


def _stacked(opened: ImageFile.ImageFile, data: bytes) -> int:
    """Images that ImageJ has put behind the one of a file's only directory, that one included."""
    tags = getattr(opened, "tag_v2", {})
    words = str(tags.get(_DESCRIPTION, ""))
    count = re.search(r"^images=(\d+)", words, re.MULTILINE) if "ImageJ=" in words[:32] else None
    plain = all(tile.codec_name == "raw" for tile in opened.tile)
    if count is None or not plain or getattr(opened, "n_frames", 1) > 1:
        return 1
    start = min(tile.offset for tile in opened.tile)
    size = sum(map(int, tags.get(_STRIP_BYTES, (0,))))
    return max(1, min(int(count[1]), (len(data) - start) // max(1, size)))


def _first_page(opened: ImageFile.ImageFile) -> int:
    """The first page of a TIFF that is no reduced copy of another; 0 where all are."""
    for page in range(getattr(opened, "n_frames", 1)):
        opened.seek(page)
        if not getattr(opened, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & 1:
            return page
    return 0


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
        pages: Of a TIFF, from 0, ascending; None for the first that is no reduced copy.
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
    stacked = _stacked(decoded, data) if name == "TIFF" else 1
    for number, page in enumerate(pages):
        # A page is found by way of all before it, so a file is walked through once. Only a page
        # that was loaded already is read from the start: Pillow does not load it again.
        if number and (name != "TIFF" or (page or 0) <= decoded.tell()):
            decoded = _open(data, name)
        notes = list[str]()
        if stacked > 1:
            notes.append(f"image {(page or 0) + 1} of {stacked} of an ImageJ stack")
            decoded = _open(data, name)
            size = sum(decoded.tag_v2[_STRIP_BYTES]) * (page or 0)  # type: ignore[attr-defined]
            decoded.tile = [tile._replace(offset=tile.offset + size) for tile in decoded.tile]
        elif name == "TIFF" and page is None:
            first = _first_page(decoded)
            decoded = _open(data, name)
            decoded.seek(first)
            if first:
                notes.append(f"page {first + 1}: those before are reduced copies")
        elif page is not None:
            decoded.seek(page)
        yield _read(decoded, data, name, page, reading, smallest_side, notes)


def _read(
    opened: ImageFile.ImageFile,
    data: bytes,
    name: str,
    page: int | None,
    reading: ReadSettings,
    smallest_side: int | None,
    notes: list[str],
) -> DecodedImage:
    mode, (width, height) = opened.mode, opened.size
    refuse_too_large(width, height)
    if name == "TIFF":
        _refuse_gaps(opened)
        if opened.mode not in _DEEP and _bits(opened, data, name) == 16 and _apart(opened):
            raise ImageError("TIFF of 16-bit colour in separate planes: save it interleaved")
    if smallest_side is not None:
        opened.draft(None, (smallest_side, smallest_side))  # nothing in other formats
        if opened.size != (width, height):
            notes.append(f"decoded at 1/{opened.decoderconfig[0]}")
    decoded = _decode_png(opened, data) if name == "PNG" else opened
    decoded.load()
    upright, sideways = _turn_upright(decoded, page, notes)
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
        raise ImageError(f"{name} with a truncated or unsupported header") from error


def _decode_png(opened: ImageFile.ImageFile, data: bytes) -> Pillow.Image:
    """The image of a PNG, whose pixels OpenCV decodes: it passes over no damage, as Pillow does.

    Palettes, transparency, animations and orientations stay Pillow's.
    """
    try:
        opened.verify()  # checksums and end, of which libpng would print a line of its own
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
        return _open(data, "PNG")
    if pixels.ndim == 3:
        eight = to_bytes(pixels)
        order = cv2.COLOR_BGR2RGB if eight.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = cv2.cvtColor(eight, order)
    return Pillow.fromarray(pixels)


def _apart(opened: ImageFile.ImageFile) -> bool:
    """Whether a TIFF's channels stand in planes of their own, of which Pillow reads bytes alone."""
    return bool(getattr(opened, "tag_v2", {}).get(_PLANES, 1) == 2)


def _refuse_gaps(decoded: ImageFile.ImageFile) -> None:
    """Refuse a TIFF that has strips or tiles for a part of its pixels; Pillow leaves gaps black."""
    held = 0
    for tile in decoded.tile:
        left, top, right, bottom = tile.extents or (0, 0, *decoded.size)
        held += (right - left) * (bottom - top)
    if held < decoded.width * decoded.height:
        raise ImageError("truncated TIFF: it has not all of its strips or tiles")


def _turn_upright(
    decoded: Pillow.Image, page: int | None, notes: list[str]
) -> tuple[Pillow.Image, bool]:
    """Apply the EXIF orientation; also says whether width and height have changed places."""
    try:
        pages = getattr(decoded, "n_frames", 1)
        if pages > 1:
            notes.append(f"first of {pages} pages" if page is None else f"page {page + 1}")
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
    if decoded.mode in _DEEP:
        inverted = getattr(decoded, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        return window_values(
            np.asarray(decoded), reading.window, reading.bits, notes, inverted=inverted
        )
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
