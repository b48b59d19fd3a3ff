"""DICOM files to pixels, by pydicom and imagecodecs; of the rest of the file only technical facts.

Legend: H W height and width. Part and section numbers are those of the DICOM standard (2024).
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.dicom.attributes import fact, facts
from medstrata.data.formats.dicom.codecs import COMPRESSED, decompress
from medstrata.data.formats.dicom.frames import as_list, count_held_frames, frame_item
from medstrata.data.formats.dicom.grey_levels import GreyLevels
from medstrata.data.formats.grey_levels import colour_levels, to_depth
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.pixel_spacing import square_pixels
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import NOT_AN_IMAGE, ImageError, refuse_too_large
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.optional import import_optional

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_INFLATED = 2**30  # bytes of a deflated file

_NO_IMAGE = {
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose grid",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.104.2": "an encapsulated CDA document",
}
# Modalities of objects that hold no picture: reports, presentations, plans, curves.
_NO_PICTURES = frozenset(
    (
        *("SR", "PR", "KO", "DOC", "PLAN", "REG", "FID", "SEG", "ECG", "EPS", "HD", "RESP", "AU"),
        *("RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT", "SMR", "SRF", "ASMT", "LS", "XAPROTOCOL"),
    )
)
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT")  # of part 2: those with four bytes of length
_DECIMALS = (
    *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
    *("PixelSpacing", "ImagerPixelSpacing", "SliceThickness"),
)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def count_frames(data: bytes) -> int:
    """Frames of a file, and one more where it does not hold all it names; 1 without pixels."""
    dataset = _parse(data)
    held = count_held_frames(dataset)
    return held + (held < _named_frames(dataset))


def read_frames(
    data: bytes, frames: Sequence[int | None], reading: ReadSettings
) -> Iterator[DecodedImage]:
    """Decode frames of a file.

    Stored values are cut to BitsStored; rescale slope and intercept, or the modality table, and
    then the table or window are applied as PS3.3, sections C.11.1 and C.11.2 say; padding becomes
    black; MONOCHROME1 is inverted; palettes and YBR become RGB; oblong pixels become square.

    Args:
        data: The whole file.
        frames: Numbers from 0; None for the middle one.
        reading: Window and depth.

    Yields:
        A picture a frame.

    Raises:
        ImageError: there are no pixels, more than `MAX_PIXELS`, no such window or codec, or damage.
        MedstrataError: pydicom is missing.
    """
    with _discreet():
        dataset = _parse(data)
        _check(dataset)
        named, held = _named_frames(dataset), count_held_frames(dataset)
    for frame in frames:
        number = named // 2 if frame is None else frame
        if number >= named:
            raise ImageError(f"frame {number} of {named}")
        if number >= held:
            raise ImageError(f"truncated DICOM: {held} of {named} frames are in it")
        with _discreet():
            picture = _picture(dataset, number, reading)
        yield picture


@contextmanager
def _discreet() -> Iterator[None]:
    """Report faults by their kind alone: their words may quote the file, and so name a patient."""
    try:
        yield
    except (ImageError, MedstrataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (pydicom and codecs fail in every way)
        short = isinstance(error, EOFError) or "less than expected" in str(error)
        word = "truncated" if short else "damaged"
        raise ImageError(f"{word} DICOM ({type(error).__name__})") from None


def _named_frames(dataset: "Dataset") -> int:
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def _picture(dataset: "Dataset", number: int, reading: ReadSettings) -> DecodedImage:
    count = _named_frames(dataset)
    kind = fact(dataset, "PhotometricInterpretation")
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    notes = [f"frame {number + 1} of {count}"] if count > 1 else []
    notes += dataset.mended
    stored = _stored_values(dataset, number)
    pixels = _grey_or_rgb(dataset, stored, number, kind, reading, notes)
    height, width = pixels.shape[:2]
    pixels = square_pixels(pixels, *_pixel_aspect(dataset, number), notes)
    return DecodedImage(
        pixels=pixels,
        width=width,
        height=height,
        mode=f"{kind or 'no photometric interpretation'}, {bits} bit",
        notes=notes,
        facts=facts(dataset),
        patient=_patient(dataset),
    )


def _parse(data: bytes) -> "Dataset":
    import_optional("pydicom", "reading DICOM", "dicom")
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    _refuse_inflating(data)
    dataset = dcmread(io.BytesIO(data), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
    _mend(dataset)
    return dataset


def _mend(dataset: "Dataset") -> None:
    """Fill in what can be only one thing, and say it in its list `mended`.

    A comma cannot stand in a number of DICOM (PS3.5, section 6.2), so it is a point; a file that
    does not say its samples a pixel or what they mean has one of grey.
    """
    dataset.mended = list[str]()
    for name in _DECIMALS:
        raw: Any = dataset.get_item(name) if name in dataset else None
        value = getattr(raw, "value", None)
        if isinstance(value, bytes) and b"," in value:
            dataset[name] = raw._replace(value=value.replace(b",", b"."))
            dataset.mended.append(f"{name} with a decimal comma")
    if not any(name in dataset for name in _PIXELS):
        return
    if dataset.get("SamplesPerPixel") is None:
        colours = fact(dataset, "PhotometricInterpretation").startswith(("RGB", "YBR"))
        dataset.SamplesPerPixel = 3 if colours else 1
        dataset.mended.append(f"no samples per pixel, taken for {dataset.SamplesPerPixel}")
    if not dataset.get("PhotometricInterpretation"):
        kind = "MONOCHROME2" if int(dataset.SamplesPerPixel) == 1 else "RGB"
        dataset.PhotometricInterpretation = kind
        dataset.mended.append(f"no photometric interpretation, taken for {kind}")


def _refuse_inflating(data: bytes) -> None:
    """Unpack a deflated file in small steps first, for pydicom would do it in one."""
    stream, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, _deflated_part(data)
    while rest and not stream.eof:
        size += len(stream.decompress(rest, 2**20))
        rest = stream.unconsumed_tail
        if size > MAX_INFLATED:
            raise ImageError(f"deflated data of more than {MAX_INFLATED:,} bytes")


def _deflated_part(data: bytes) -> bytes:
    """What follows the elements of group 2 (PS3.10, section 7.1); empty if it is not deflated."""
    place, syntax = 132 if is_dicom(data) else 0, b""
    while data[place : place + 2] == b"\2\0":
        long = data[place + 4 : place + 6] in _LONG
        start, end = (place + 8, place + 12) if long else (place + 6, place + 8)
        length = int.from_bytes(data[start:end], "little")
        if data[place + 2 : place + 4] == b"\x10\0":
            syntax = data[end : end + length]
        place = end + length
    return data[place:] if syntax.rstrip(b"\0 ") == _DEFLATED else b""


def _check(dataset: "Dataset") -> None:
    kind = str(dataset.get("SOPClassUID", ""))
    if kind in _NO_IMAGE:
        raise ImageError(f"{NOT_AN_IMAGE}DICOM that is {_NO_IMAGE[kind]}, not an image")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not any(name in dataset for name in _PIXELS) or not rows or not columns:
        modality = fact(dataset, "Modality")
        what = "DICOM without pixels" + (f" (modality {modality})" if modality else "")
        raise ImageError(f"{NOT_AN_IMAGE}{what}" if modality in _NO_PICTURES else what)
    refuse_too_large(columns, rows)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != _RLE and syntax not in COMPRESSED:
        # A name that the standard does not have may be anything.
        name = "private compression" if syntax.name == str(syntax) else syntax.name
        raise ImageError(f"no codec for {name}")


def _stored_values(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """Pixels as they are stored, shape (H, W) or (H, W, 3); colours as RGB."""
    from pydicom.pixels.utils import pixel_array

    if dataset.file_meta.TransferSyntaxUID in COMPRESSED:
        return _cut_to_stored_bits(dataset, decompress(dataset, frame), highest=None)
    # pydicom takes the highest bits to be rubbish, wherever HighBit is.
    pixels = pixel_array(dataset, index=frame, correct_unused_bits=False)
    if "PixelData" not in dataset:
        return pixels
    return _cut_to_stored_bits(dataset, pixels, highest=dataset.get("HighBit"))


def _cut_to_stored_bits(
    dataset: "Dataset", pixels: NDArray[Any], highest: int | None
) -> NDArray[Any]:
    """Drop what old files keep in the bits above BitsStored, and carry the sign up."""
    unused = 8 * pixels.dtype.itemsize - int(dataset.BitsStored)
    if pixels.dtype.kind not in "iu" or unused <= 0 or pixels.ndim != 2:
        return pixels
    below = 0 if highest is None else max(0, int(highest) + 1 - int(dataset.BitsStored))
    clean = pixels.dtype.kind == "u" and int(pixels.max()) < 2 ** int(dataset.BitsStored)
    if clean and not below:
        return pixels
    return (pixels << (unused - below)) >> unused


def _grey_or_rgb(
    dataset: "Dataset",
    stored: NDArray[Any],
    frame: int,
    kind: str,
    reading: ReadSettings,
    notes: list[str],
) -> NDArray[Any]:
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        notes.append("palette to RGB")
        colours = apply_color_lut(stored, dataset)[..., :3]
        bits = 8 * colours.dtype.itemsize
        if bits == 16 and int(colours.max()) < 256:
            bits, colours = 8, colours.astype(np.uint8)
            notes.append("palette of 8 bits in 16")
        return to_depth(_high_byte(colours, bits, notes), reading.bits)
    if stored.ndim == 3:
        if kind.startswith("YBR"):
            notes.append(f"{kind} to RGB")
        if dataset.BitsStored > 8:
            return colour_levels(stored, int(dataset.BitsStored), reading, notes)
        return to_depth(stored.astype(np.uint8), reading.bits)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        notes.append(f"{kind or 'no photometric interpretation'} taken for MONOCHROME2")
    return GreyLevels(dataset, frame, reading).of(stored, notes)


def _high_byte(colours: NDArray[Any], bits: int, notes: list[str]) -> NDArray[np.uint8]:
    if bits <= 8:
        return colours.astype(np.uint8)
    notes.append(f"{bits}-bit colour to 8 bits: high byte kept")
    return (colours >> (bits - 8)).astype(np.uint8)


def _pixel_aspect(dataset: "Dataset", frame: int) -> tuple[float, float]:
    """Distance between rows and between columns, in the same unit."""
    measures = frame_item(dataset, frame, "PixelMeasuresSequence")
    for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = as_list(measures.get(name))
        if len(value) == 2:
            return float(value[0]), float(value[1])
    return 1.0, 1.0


def _patient(dataset: "Dataset") -> str | None:
    number = str(dataset.get("PatientID") or "").strip()
    return f"{dataset.get('IssuerOfPatientID') or ''}\0{number}" if number else None
