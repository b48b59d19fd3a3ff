"""One image file to 8-bit pixels, with a record of what was done to it.

PNG, JPEG and TIFF are told by their first bytes, not by the file's name. The file is read once:
the checksum and the pixels come from the same bytes.

Legend: H W height and width.
"""

import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from medstrata.data.png import inflate_png
from medstrata.data.windowing import window
from medstrata.errors import MedstrataError

MAX_PIXELS = 178_956_970  # where Pillow, too, takes an image for a decompression bomb

# Pillow's own `open` would warn through a process-wide limit, so each decoder is called by name.
_DECODERS: tuple[tuple[bytes, str, type[ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImageFile),
    (b"\xff\xd8\xff", "JPEG", JpegImageFile),
    (b"II*\0", "TIFF", TiffImageFile),
    (b"MM\0*", "TIFF", TiffImageFile),
    (b"II+\0", "TIFF", TiffImageFile),
    (b"MM\0+", "TIFF", TiffImageFile),
)
_UNSUPPORTED = (
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PK\x03\x04", "zip or npz"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
)
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 262, 0
_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


class Unreadable(MedstrataError):  # noqa: N818  (a finding about a file, not a failure)
    """A file that gives no usable pixels.

    Attributes:
        reason: Why, in a few words, without the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Image:
    """Pixels of one file, upright, and what was done to get them.

    Attributes:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8; colour with three equal channels is grey.
        format: PNG, JPEG or TIFF.
        width: Of the file's image in pixels, after turning upright.
        height: Likewise.
        mode: How the file holds its pixels, in Pillow's words, such as L, RGB, I;16, CMYK.
        conversion: Each change that lost or moved something, joined by "; "; empty if none.
        checksum: BLAKE2b of the file's bytes, 128 bits, as 32 hexadecimal digits.
    """

    pixels: NDArray[np.uint8]
    format: str
    width: int
    height: int
    mode: str
    conversion: str
    checksum: str


def read_image(path: Path, least: int | None = None) -> Image:
    """Read a PNG, JPEG or TIFF file; of several pages the first.

    Grey images of more than 8 bits are scaled by percentiles of their own (`windowing.WINDOW`), so
    that brightness is comparable between detectors and no bit depth is assumed.

    Args:
        path: The file.
        least: Sides in pixels that suffice. A large JPEG is then decoded at 1/2, 1/4 or 1/8, as
            long as both sides are not below it, which takes a fraction of the time.

    Returns:
        Its pixels and their record.

    Raises:
        Unreadable: the file is missing, empty, no image, of another format, damaged, has more
            than `MAX_PIXELS` pixels, holds non-finite numbers or is constant.
    """
    data = _read_bytes(path)
    try:
        decoded, name = _open(path, data)
        if decoded.width * decoded.height > MAX_PIXELS:
            raise Unreadable(
                path, f"{decoded.width} x {decoded.height} pixels, more than {MAX_PIXELS:,}"
            )
        if name == "PNG":
            decoded = PngImageFile(io.BytesIO(inflate_png(data)))
        mode, (width, height), notes = decoded.mode, decoded.size, list[str]()
        if least is not None:
            decoded.draft(None, (least, least))  # does nothing where the format has no such way
            if decoded.size != (width, height):
                notes.append(f"decoded at 1/{decoded.decoderconfig[0]}")
        decoded.load()
        upright, sideways = _turn_upright(decoded, notes)
        pixels = _to_8_bit(path, upright, data, notes)
    except MedstrataError:
        raise
    except Exception as error:  # decoders fail in every way on damaged bytes
        word = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise Unreadable(path, f"{word}: {' '.join(str(error).split())[:120]}") from error
    return Image(
        pixels=pixels,
        format=name,
        width=height if sideways else width,
        height=width if sideways else height,
        mode=mode,
        conversion="; ".join(notes),
        checksum=hashlib.blake2b(data, digest_size=16).hexdigest(),
    )


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        raise Unreadable(path, "missing")
    if not path.is_file():
        raise Unreadable(path, "not a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(path, f"cannot be read: {error.strerror}") from error
    if not data:
        raise Unreadable(path, "zero bytes")
    return data


def _open(path: Path, data: bytes) -> tuple[ImageFile.ImageFile, str]:
    """Read the header alone."""
    for magic, name, decoder in _DECODERS:
        if data.startswith(magic):
            try:
                return decoder(io.BytesIO(data)), name
            except SyntaxError as error:
                raise Unreadable(path, f"{name} with a truncated or unsupported header") from error
    for place, magic, name in _UNSUPPORTED:
        if data[place : place + len(magic)] == magic:
            raise Unreadable(path, f"unsupported format {name}; convert it to PNG, JPEG or TIFF")
    raise Unreadable(path, "not an image")


def _turn_upright(decoded: ImageFile.ImageFile, notes: list[str]) -> tuple[Pillow.Image, bool]:
    """Apply the EXIF orientation; also says whether width and height have changed places."""
    try:
        if getattr(decoded, "n_frames", 1) > 1:
            notes.append(f"first of {decoded.n_frames} pages")  # type: ignore[attr-defined]
        orientation = decoded.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
        notes.append("unreadable EXIF ignored")
        return decoded, False
    # Pillow turns TIFF upright while loading and then reports 1.
    if orientation not in _UPRIGHT:
        return decoded, False
    notes.append(f"EXIF orientation {orientation} applied")
    return decoded.transpose(_UPRIGHT[orientation]), orientation >= 5


def _to_8_bit(
    path: Path, decoded: Pillow.Image, data: bytes, notes: list[str]
) -> NDArray[np.uint8]:
    if decoded.mode in _DEEP:
        pixels = np.asarray(decoded)
        _refuse_constant(path, pixels)
        tags = getattr(decoded, "tag_v2", {})
        scaled, note = window(pixels, invert=tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
        notes.append(note)
        return scaled
    if data.startswith(_DECODERS[0][0]) and data[24] == 16:  # the bit depth in a PNG header
        notes.append("16-bit colour to 8 bits: high byte kept")
    if decoded.mode in ("1", "L"):
        pixels = np.asarray(decoded if decoded.mode == "L" else decoded.convert("L"))
        _refuse_constant(path, pixels)
        return pixels
    pixels = _to_rgb(decoded, notes)
    _refuse_constant(path, pixels)
    return _grey_if_equal(pixels, notes)


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


def _grey_if_equal(pixels: NDArray[np.uint8], notes: list[str]) -> NDArray[np.uint8]:
    """Drop two of three equal channels; a sparse look spares colour images the full one."""
    for part in (pixels[::16, ::16], pixels):
        if not np.array_equal(part[..., 0], part[..., 1]) or not np.array_equal(
            part[..., 0], part[..., 2]
        ):
            return pixels
    notes.append("equal channels to grey")
    return np.ascontiguousarray(pixels[..., 0])


def _refuse_constant(path: Path, pixels: NDArray[Any]) -> None:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise Unreadable(path, "non-finite pixels")
    if all(bool((part == part[0, 0]).all()) for part in (pixels[::16, ::16], pixels)):
        value = ", ".join(f"{number:g}" for number in np.atleast_1d(pixels[0, 0]))
        raise Unreadable(path, f"constant image, every pixel {value}")
