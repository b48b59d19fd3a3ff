"""Compressed DICOM frames to stored values, by codecs that survive damage.

imagecodecs holds libjpeg-turbo, CharLS and OpenJPEG, which answer damaged bytes with an error;
GDCM's JPEG codec ends the process instead.

Legend: H W height and width.
"""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.refusals import MAX_PIXELS, ImageError
from medstrata.runtime.optional import import_optional

if TYPE_CHECKING:
    from pydicom import Dataset

_UIDS = "1.2.840.10008.1.2.4."
_JPEG = {_UIDS + end for end in ("50", "51", "57", "70")}  # baseline, extended, lossless
_JPEG_LS = {_UIDS + end for end in ("80", "81")}
_JPEG_2000 = {_UIDS + end for end in ("90", "91", "201", "202", "203")}
COMPRESSED = _JPEG | _JPEG_LS | _JPEG_2000  # transfer syntaxes that `decompress` reads

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG and JPEG-LS
_LOSSLESS = {0xC3, 0xF7}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_END_OF_IMAGE = b"\xff\xd9"
_CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000
_CODING_STYLE = b"\xff\x52"


def decompress(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """Decode a frame.

    The file's photometric interpretation says whether colours are YBR, unless the stream cannot be
    what it says (`_is_ybr`). Its sign and BitsStored rule too, as elsewhere in DICOM, but a stream
    of fewer bits than these carries the sign in the highest that it has.

    Returns:
        Shape (H, W) or (H, W, 3), colours as RGB, integers; what lies above BitsStored means
        nothing.

    Raises:
        ImageError: the frame is of another size than the file says.
        MedstrataError: imagecodecs is missing.
        Exception: whatever a codec raises on damaged bytes.
    """
    imagecodecs = import_optional("imagecodecs", "reading compressed DICOM", "dicom")
    from pydicom.pixels.processing import convert_color_space

    data = _encoded(dataset, frame)
    _refuse_other_size(dataset, data)
    syntax = dataset.file_meta.TransferSyntaxUID
    ybr = _is_ybr(data, str(dataset.get("PhotometricInterpretation", "")))
    if syntax in _JPEG_2000:
        pixels = imagecodecs.jpeg2k_decode(data)
    elif syntax in _JPEG_LS:
        if _END_OF_IMAGE not in data[-4:]:  # for which CharLS 2.4 searches for seconds
            raise ImageError("truncated DICOM: a JPEG-LS frame without its end")
        pixels = imagecodecs.jpegls_decode(data)
    elif int(dataset.SamplesPerPixel) == 1 or _marker(data)[0] in _LOSSLESS:
        pixels = imagecodecs.jpeg8_decode(data)
    else:
        pixels = imagecodecs.jpeg8_decode(
            data, colorspace="YCBCR" if ybr else "RGB", outcolorspace="RGB"
        )
        ybr = False
    if pixels.shape[:2] != (dataset.Rows, dataset.Columns):
        raise ImageError("damaged DICOM: its compressed frame ends early")
    if ybr:
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    signed = pixels.ndim == 2 and int(dataset.get("PixelRepresentation") or 0) == 1
    own_sign = pixels.dtype.kind == "i"
    pixels = np.asarray(pixels).view(f"{'i' if signed else 'u'}{pixels.dtype.itemsize}")
    unused = 8 * pixels.dtype.itemsize - (declared_bits(data) or 8 * pixels.dtype.itemsize)
    if signed and not own_sign and unused > 0 and syntax in _JPEG_2000 | _JPEG_LS:
        pixels = (pixels << unused) >> unused
    return np.asarray(pixels)


def _encoded(dataset: "Dataset", frame: int) -> bytes:
    from pydicom.encaps import get_frame

    extended = [dataset.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
    return get_frame(
        dataset.PixelData,
        frame,
        number_of_frames=max(1, int(dataset.get("NumberOfFrames") or 1)),
        extended_offsets=(extended[0], extended[1]) if all(extended) else None,
    )


def _refuse_other_size(dataset: "Dataset", data: bytes) -> None:
    """Refuse a frame before a codec allocates what its header claims, which may be anything."""
    wanted = tuple(int(dataset[name].value) for name in ("Columns", "Rows", "SamplesPerPixel"))
    size = declared_size(data)
    if size is None:
        raise ImageError("damaged DICOM: a compressed frame without a header")
    if size != wanted or wanted[0] * wanted[1] > MAX_PIXELS:
        by_file, by_frame = (f"{columns} x {rows} x {n}" for columns, rows, n in (wanted, size))
        raise ImageError(
            f"damaged DICOM: {by_file} by the file, {by_frame} by its compressed frame"
        )


def declared_size(data: bytes) -> tuple[int, int, int] | None:
    """Width, height and components in the header of a compressed frame; None if there is none.

    Args:
        data: A JPEG, JPEG-LS or JPEG 2000 stream, the last also in the boxes of a JP2 file.
    """
    start = data.find(_CODESTREAM)
    if start == 0 or data[4:8] == b"jP  ":
        header = data[start : start + 42]
        if start < 0 or len(header) < 42:
            return None
        right, bottom, left, top, components = struct.unpack_from(">4I16xH", header, 8)
        return right - left, bottom - top, components
    marker, place = _marker(data)
    if marker not in _START_OF_FRAME or len(data) < place + 10:
        return None
    height, width, components = struct.unpack_from(">2HB", data, place + 5)
    return width, height, components


def declared_bits(data: bytes) -> int | None:
    """Bits of a sample in the header of a compressed frame; None if there is none."""
    start = data.find(_CODESTREAM)
    if start == 0 or data[4:8] == b"jP  ":
        return (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else None
    marker, place = _marker(data)
    return data[place + 4] if marker and len(data) > place + 4 else None


def _is_ybr(data: bytes, kind: str) -> bool:
    """Whether a decoder's colours are still YBR by the file, or by a stream that contradicts it.

    A JFIF stream is YCbCr, and so is one whose second component is subsampled; one that Adobe's
    marker says not to be transformed is RGB. What JPEG 2000 has transformed comes out as RGB.
    Other markers contradict files that are right.
    """
    said = kind.startswith("YBR_FULL")
    start = data.find(_CODESTREAM)
    if start == 0 or data[4:8] == b"jP  ":
        coding = data.find(_CODING_STYLE, max(0, start))
        transformed = 0 <= coding < len(data) - 8 and data[coding + 8] == 1
        return said and not transformed
    marker, place = _marker(data)
    if marker in _LOSSLESS or len(data) < place + 15 or data[place + 9] != 3:
        return said
    header = data[:place]
    adobe = header.find(b"Adobe\0")
    if adobe >= 0 and data[adobe + 11] == 0:
        return False
    subsampled = data[place + 11] != data[place + 14]
    return said or subsampled or b"\xff\xe0\0\x10JFIF\0" in header


def _marker(data: bytes) -> tuple[int, int]:
    """The marker that starts the frame of a JPEG stream, and its place; 0 where there is none."""
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 4 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _START_OF_FRAME:
            return marker, place
        if marker in _ALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0, place
