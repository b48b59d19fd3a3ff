"""DICOM files to pixels, by pydicom and its codecs; of the rest of the file only technical facts.

Legend: H W height and width. Part and section numbers are those of the DICOM standard (2024).
"""

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.dicom_frames import refuse_oversized
from medstrata.data.dicom_levels import Levels
from medstrata.data.intensity import to_depth
from medstrata.data.reading import Picture, Reading
from medstrata.data.refusals import MAX_PIXELS, Refused
from medstrata.data.squares import square_pixels
from medstrata.errors import MedstrataError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_INFLATED = 2**30  # bytes of a deflated file

# What may be kept of a file: attributes that describe how the image was made, none of which the
# Basic Application Level Confidentiality Profile (PS3.15, table E.1-1) has removed.
FACTS = (
    *("Modality", "PhotometricInterpretation", "BitsStored", "PresentationIntentType"),
    *("BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality", "PatientOrientation"),
    *("ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness"),
    *("Manufacturer", "ManufacturerModelName", "BurnedInAnnotation", "LossyImageCompression"),
)
# Code strings (CS) and numbers cannot hold a sentence; makers' names are the two free texts.
_PLAIN = re.compile(r"[A-Za-z0-9 ._\\+\-()/,&]{1,64}")
_NO_IMAGE = {
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose grid",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.104.2": "an encapsulated CDA document",
}
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def count_frames(data: bytes) -> int:
    """Frames of a file, from its header; 1 where it has no pixels."""
    header = _parse(data, pixels=False)
    return max(1, int(header.get("NumberOfFrames") or 1))


def read_frames(data: bytes, frames: Sequence[int | None], reading: Reading) -> Iterator[Picture]:
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
        Refused: there are no pixels, more than `MAX_PIXELS`, no such window, no codec, or damage.
        MedstrataError: pydicom is missing.
    """
    with _discreet():
        dataset = _parse(data)
        _check(dataset)
    for frame in frames:
        with _discreet():
            picture = _picture(dataset, frame, reading)
        yield picture


@contextmanager
def _discreet() -> Iterator[None]:
    """Report faults by their kind alone: their words may quote the file, and so name a patient."""
    try:
        yield
    except (Refused, MedstrataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (pydicom and codecs fail in every way)
        short = isinstance(error, EOFError) or "less than expected" in str(error)
        word = "truncated" if short else "damaged"
        raise Refused(f"{word} DICOM ({type(error).__name__})") from None


def _picture(dataset: "Dataset", frame: int | None, reading: Reading) -> Picture:
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    number = count // 2 if frame is None else frame
    if number >= count:
        raise Refused(f"frame {number} of {count}")
    kind = str(dataset.get("PhotometricInterpretation", "")).strip()
    notes = [f"frame {number + 1} of {count}"] if count > 1 else []
    stored = _stored_values(dataset, number)
    pixels = _grey_or_rgb(dataset, stored, number, kind, reading, notes)
    height, width = pixels.shape[:2]
    pixels = square_pixels(pixels, *_pixel_aspect(dataset), notes)
    return Picture(
        pixels=pixels,
        width=width,
        height=height,
        mode=f"{kind}, {dataset.get('BitsStored', dataset.get('BitsAllocated'))} bit",
        notes=notes,
        facts=_facts(dataset),
        patient=_patient(dataset),
    )


def _parse(data: bytes, *, pixels: bool = True) -> "Dataset":
    try:
        from pydicom import dcmread
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    except ImportError as error:
        raise MedstrataError(
            "reading DICOM needs pydicom: pip install 'medstrata[dicom]'"
        ) from error
    _refuse_inflating(data)
    dataset = dcmread(io.BytesIO(data), force=True, stop_before_pixels=not pixels)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
    return dataset


def _refuse_inflating(data: bytes) -> None:
    """Unpack a deflated file in small steps first, for pydicom would do it in one."""
    if _DEFLATED not in data[:1024]:
        return
    start = 144 + int.from_bytes(data[140:144], "little")  # after the group length of part 2
    stream, size, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, data[start:]
    while rest and not stream.eof:
        size += len(stream.decompress(rest, 2**20))
        rest = stream.unconsumed_tail
        if size > MAX_INFLATED:
            raise Refused(f"deflated data of more than {MAX_INFLATED:,} bytes")


def _check(dataset: "Dataset") -> None:
    kind = str(dataset.get("SOPClassUID", ""))
    if kind in _NO_IMAGE:
        raise Refused(f"DICOM that is {_NO_IMAGE[kind]}, not an image")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not any(name in dataset for name in _PIXELS) or not rows or not columns:
        modality = _fact(dataset, "Modality")
        raise Refused("DICOM without pixels" + (f" (modality {modality})" if modality else ""))
    if rows * columns > MAX_PIXELS:
        raise Refused(f"{columns} x {rows} pixels, more than {MAX_PIXELS:,}")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        from pydicom.pixels.decoders.base import get_decoder

        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            raise Refused(
                f"no codec for {syntax.name}: pip install 'medstrata[dicom]' has those there are"
            )


def _stored_values(dataset: "Dataset", frame: int) -> NDArray[Any]:
    """Pixels as they are stored, shape (H, W) or (H, W, 3); colours as RGB."""
    from pydicom.pixels.utils import pixel_array

    refuse_oversized(dataset, frame)
    try:
        pixels = pixel_array(dataset, index=frame)
    except RuntimeError as error:  # no codec of those that are there could
        name = dataset.file_meta.TransferSyntaxUID.name
        raise Refused(f"{name} that no codec could decompress") from error
    return _cut_to_stored_bits(dataset, pixels) if "PixelData" in dataset else pixels


def _cut_to_stored_bits(dataset: "Dataset", pixels: NDArray[Any]) -> NDArray[Any]:
    """Drop what old files keep in the bits above BitsStored, and carry the sign up."""
    unused = 8 * pixels.dtype.itemsize - int(dataset.BitsStored)
    if pixels.dtype.kind not in "iu" or unused <= 0 or pixels.ndim != 2:
        return pixels
    top = int(dataset.get("HighBit", dataset.BitsStored - 1))
    below = max(0, top + 1 - int(dataset.BitsStored))
    return (pixels << (unused - below)) >> unused


def _grey_or_rgb(
    dataset: "Dataset",
    stored: NDArray[Any],
    frame: int,
    kind: str,
    reading: Reading,
    notes: list[str],
) -> NDArray[Any]:
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        notes.append("palette to RGB")
        colours = apply_color_lut(stored, dataset)[..., :3]
        return to_depth(_high_byte(colours, 8 * colours.dtype.itemsize, notes), reading.bits)
    if stored.ndim == 3:
        if kind.startswith("YBR"):
            notes.append(f"{kind} to RGB")
        return to_depth(_high_byte(stored, int(dataset.BitsStored), notes), reading.bits)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        notes.append(f"{kind or 'no photometric interpretation'} taken for MONOCHROME2")
    return Levels(dataset, frame, reading).of(stored, notes)


def _high_byte(colours: NDArray[Any], bits: int, notes: list[str]) -> NDArray[np.uint8]:
    if bits <= 8:
        return colours.astype(np.uint8)
    notes.append(f"{bits}-bit colour to 8 bits: high byte kept")
    return (colours >> (bits - 8)).astype(np.uint8)


def _pixel_aspect(dataset: "Dataset") -> tuple[float, float]:
    """Distance between rows and between columns, in the same unit."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = dataset.get(name)
        if value is not None and len(value) == 2:
            return float(value[0]), float(value[1])
    return 1.0, 1.0


def _facts(dataset: "Dataset") -> dict[str, str]:
    facts = {name: _fact(dataset, name) for name in FACTS}
    return {name: value for name, value in facts.items() if value}


def _fact(dataset: "Dataset", name: str) -> str:
    """An attribute as text; empty where it is absent or not what such an attribute may hold."""
    value = dataset.get(name)
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    text = "\\".join(map(str, value)) if several else str(value)
    return text.strip() if _PLAIN.fullmatch(text.strip()) else ""


def _patient(dataset: "Dataset") -> str | None:
    number = str(dataset.get("PatientID") or "").strip()
    return f"{dataset.get('IssuerOfPatientID') or ''}\0{number}" if number else None
