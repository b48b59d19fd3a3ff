"""Image files to grey levels or colours, whatever their format, with a record of what was done.

Formats are told by their first bytes, not by the file's name; only containers of arrays, and old
DICOM files, need theirs. A file is read once: the checksum and the pixels come from the same bytes.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.arrays import array_length, read_rows, split_container
from medstrata.data.formats.dicom.read import count_frames, is_dicom, read_frames
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.nifti import count_slices, is_packed_nifti, read_slices
from medstrata.data.formats.raster import list_pages, read_photographs
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.runtime.errors import MedstrataError, one_line

# Bytes at a place, and the format that they tell.
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (344, b"n+1\0", "NIfTI"),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI"),
    (0, b"GIF8", "GIF"),
    *((0, b"P%d%c" % (kind, blank), "PNM") for kind in range(1, 7) for blank in b"\n\r\t #"),
    (0, b"BM", "BMP"),
)
_UNSUPPORTED = (
    (0, b"PK\x03\x04", "zip or npz, which is prepared by itself"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5, which is prepared by itself"),
    (0, b"\x93NUMPY", "npy: save arrays as npz, images as PNG"),
    (0, b"%PDF", "PDF"),
    (0, b"\x1f\x8b", "gzip of anything but NIfTI: unpack it"),
    (344, b"ni1\0", "NIfTI of two files: save it as .nii"),
    (0, b"NRRD", "NRRD: save it as NIfTI"),
    (0, b"ObjectType", "MetaImage: save it as NIfTI"),
    (0, b"\xff\x0a", "JPEG XL: save it as PNG"),
    (4, b"JXL \r\n\x87\n", "JPEG XL: save it as PNG"),
    (4, b"ftyp", "HEIC, AVIF or a film: save it as PNG"),
    (0, b"8BPS", "Photoshop: save it as PNG"),
)
_DICOM_NAMES = (".dcm", ".dicom", ".ima")


def read_images(
    path: Path,
    frames: Sequence[int | None],
    reading: ReadSettings,
    smallest_side: int | None = None,
) -> Iterator[DecodedImage | ImageError]:
    """Read some images of a file, each with its own fate.

    Args:
        path: A file, or an array in a container as `arrays` explains.
        frames: Numbers from 0, ascending; None for the one that stands for the file.
        reading: Window, depth, axis; which frame stands for the file is said there.
        smallest_side: Sides in pixels that suffice, which lets a large JPEG be decoded smaller.

    Yields:
        One result a frame, in their order: its pixels and their record, or why there are none. The
        file is missing, empty, no image, of another format, damaged, too large, or the image holds
        non-finite numbers or is constant; what spoils a file spoils all its frames left.

    Raises:
        MedstrataError: a library for its format is not installed.
    """
    done = 0
    try:
        for image in _images(path, frames, reading, smallest_side):
            yield image if _varies(image.pixels) else ImageError(_constant(image.pixels))
            done += 1
    except ImageError as refused:
        reason = str(refused)
    except MedstrataError:
        raise
    except MemoryError:
        reason = "needs more memory than there is"
    except Exception as error:  # noqa: BLE001  (decoders fail in every way on damaged bytes)
        reason = _fault(error)
    else:
        return
    for _ in frames[done:]:
        yield ImageError(reason)


def list_frames(path: Path, axis: str) -> Sequence[int]:
    """Numbers of the images in a file, from its header.

    Args:
        path: As in `read_images`.
        axis: As `ReadSettings.axis`.

    Returns:
        Ascending; without reduced copies of a TIFF, and with one that reading will refuse where a
        file holds fewer than it says. 0 alone where it cannot be read, which reading will find.

    Raises:
        MedstrataError: a library for its format is not installed.
    """
    try:
        if (inside := split_container(path)) is not None:
            return range(array_length(*inside))
        data = _read_bytes(path)
        name = _format(path, data)
        if name == "NIfTI":
            return range(count_slices(path, axis))
        return range(count_frames(data)) if name == "DICOM" else list_pages(data, name)
    except MedstrataError:
        raise
    except Exception:  # noqa: BLE001  (as above)
        return range(1)


def _images(
    path: Path, frames: Sequence[int | None], reading: ReadSettings, smallest_side: int | None
) -> Iterator[DecodedImage]:
    if (inside := split_container(path)) is not None:
        name = "npz" if inside[0].suffix.lower() == ".npz" else "HDF5"
        rows = [frame or 0 for frame in frames]
        for image in read_rows(*inside, rows, reading):
            yield _finished(image, name, image.checksum)
        return
    data = _read_bytes(path)
    name = _format(path, data)
    digest = hashlib.sha256(data)
    if name == "NIfTI":
        del data  # nibabel reads the file itself
        images = read_slices(path, frames, reading)
    elif name == "DICOM":
        images = read_frames(data, frames, reading)
    else:
        images = read_photographs(data, name, frames, reading, smallest_side)
    for frame, image in zip(frames, images, strict=True):
        own = digest.copy()
        if frame is not None:
            own.update(f"#{frame}".encode())
        yield _finished(image, name, own.hexdigest()[:32])


def _finished(image: DecodedImage, name: str, checksum: str) -> DecodedImage:
    pixels = image.pixels
    if pixels.ndim == 3:
        pixels = _grey_if_equal(pixels, image.notes)
    return replace(image, pixels=pixels, format=name, checksum=checksum)


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise ImageError("not a file" if path.exists() else "missing")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise ImageError("zero bytes")
    return data


def _format(path: Path, data: bytes) -> str:
    if is_dicom(data):
        return "DICOM"
    name = _find_signature(_MAGIC, data)
    if name is not None:
        return name
    lower = path.name.lower()
    if is_packed_nifti(data) or lower.endswith(".nii.gz"):  # which may be cut before its header
        return "NIfTI"
    if lower.endswith(_DICOM_NAMES):
        return "DICOM"  # old archives leave the preamble out
    unsupported = _find_signature(_UNSUPPORTED, data)
    raise ImageError(f"unsupported format {unsupported}" if unsupported else "not an image")


def _find_signature(signatures: Sequence[tuple[int, bytes, str]], data: bytes) -> str | None:
    """The name of the first signature that stands at its place in the data."""
    names = (name for place, magic, name in signatures if data.startswith(magic, place))
    return next(names, None)


def _fault(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"cannot be read: {os.strerror(error.errno)}"
    text = one_line(error, limit=120)
    return f"{'truncated' if 'truncated' in text.lower() else 'damaged'}: {text}"


def _grey_if_equal(pixels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """Drop two of three equal channels; a sparse look spares colour images the full one."""
    for part in (pixels[::16, ::16], pixels):
        if not np.array_equal(part[..., 0], part[..., 1]) or not np.array_equal(
            part[..., 0], part[..., 2]
        ):
            return pixels
    notes.append("equal channels to grey")
    return np.ascontiguousarray(pixels[..., 0])


def _varies(pixels: NDArray[Any]) -> bool:
    return not all(bool((part == part[0, 0]).all()) for part in (pixels[::16, ::16], pixels))


def _constant(pixels: NDArray[Any]) -> str:
    value = ", ".join(f"{number:g}" for number in np.atleast_1d(pixels[0, 0]))
    return f"constant image, every pixel {value}"
