"""NIfTI volumes to slices as a radiologist sees them.

Legend: X Y Z voxels to the right, to the front and to the top of the patient; H W height and width.
"""

import gzip
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.grey_levels import check_numbers, own_range, ramp, to_levels
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.pixel_spacing import square_pixels
from medstrata.data.formats.read_settings import AXES, ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.runtime.optional import import_optional

MAX_VOXELS = 2**29  # 2,048 slices of 512 x 512
_FARTHEST = 2**26  # byte that the numbers of a volume may begin at: there is no more to say before
_HEADER = 540  # bytes; 348 of NIfTI-1
_GZIP = b"\x1f\x8b"
_SAMPLED = 2_000_000  # voxels that percentiles of a volume are taken from
_SILENT = logging.Logger("nibabel, silent")
_SILENT.addHandler(logging.NullHandler())
# The axes of the volume that run down and along a slice, each from the far end: the patient's
# right is at the left, the front at the top of axial and at the left of sagittal slices.
_DOWN_ALONG = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}


def is_packed_nifti(data: bytes) -> bool:
    """Whether bytes are gzip of NIfTI in one file."""
    if data[:2] != _GZIP:
        return False
    try:
        start = zlib.decompressobj(wbits=31).decompress(data, _HEADER)
    except zlib.error:
        return False
    return start[344:348] == b"n+1\0" or start[4:7] == b"n+2"


def count_slices(path: Path, axis: str) -> int:
    """Slices of a volume along an axis, from its header.

    Raises:
        ImageError: it is no volume of numbers, or a too large one.
        MedstrataError: nibabel is missing.
    """
    header = _read_header(path)
    return _shape(header)[_axes(header).index(_along(axis))]


def read_slices(
    path: Path, slices: Sequence[int | None], reading: ReadSettings
) -> Iterator[DecodedImage]:
    """Cut slices from a volume, whose voxels are scaled by one window.

    A volume is turned so that its axes run to the patient's right, front and top, whichever way the
    file stores them; of several volumes in time the first is taken; slices with oblong pixels are
    resampled to square ones. What is no number is background.

    Args:
        path: A file, gzipped or not.
        slices: Numbers from the patient's left, back or feet; None for the middle.
        reading: Axis, window and depth; percentiles are those of the volume.

    Yields:
        A picture a slice.

    Raises:
        ImageError: it is no volume of numbers, too large, or holds infinite numbers.
        MedstrataError: nibabel is missing.
    """
    header = _read_header(path)
    notes = []
    volumes = math.prod(header.get_data_shape()[3:])
    if volumes > 1:
        notes.append(f"first of {volumes} volumes")
    if not (header["qform_code"] or header["sform_code"]):
        notes.append("header without orientation: rows taken to run to the patient's left")
    volume = _turned(_voxels(path, header), header)
    spacing = _spacing(header)
    check_numbers(volume, notes)
    step = max(1, math.ceil((volume.size / _SAMPLED) ** (1 / 3)))
    sample = volume[::step, ::step, ::step].astype(np.float64)
    if not np.isfinite(sample).any():
        sample = volume.astype(np.float64)
    sample = sample[np.isfinite(sample)]
    low, high = own_range(reading.window, sample, None)
    notes.append(f"{low:g}..{high:g} to 0..{2**reading.bits - 1}")
    for number in slices:
        yield _slice(volume, number, spacing, reading, (low, high), notes)


def _slice(
    volume: NDArray[Any],
    number: int | None,
    spacing: list[float],
    reading: ReadSettings,
    ends: tuple[float, float],
    notes: list[str],
) -> DecodedImage:
    along = _along(reading.axis)
    count = volume.shape[along]
    number = count // 2 if number is None else number
    if number >= count:
        raise ImageError(f"slice {number} of {count}")
    down, across = _DOWN_ALONG[reading.axis]
    plane = np.take(volume, number, axis=along).T[::-1, ::-1]  # from (across, down)
    levels = to_levels(plane, lambda stored: stored, lambda *_: ramp(*ends), reading.bits)
    own = [f"{reading.axis} slice {number + 1} of {count}", *notes]
    pixels = square_pixels(levels, spacing[down], spacing[across], own)
    height, width = levels.shape
    return DecodedImage(
        pixels=pixels, width=width, height=height, mode=str(volume.dtype), notes=own
    )


def _along(axis: str) -> int:
    return 2 - AXES.index(axis)


def _stream(path: Path) -> Any:
    """The file's bytes, unpacked; nibabel itself would go by the file's name."""
    stream = path.open("rb")
    packed = stream.read(2) == _GZIP
    stream.seek(0)
    if not packed:
        return stream
    stream.close()
    return gzip.open(path)


def _read_header(path: Path) -> Any:
    """The header alone: nibabel's own reading of files would also unpack extensions."""
    import_optional("nibabel", f"{path}: reading NIfTI", "nifti")
    from nibabel import Nifti1Header, Nifti2Header

    with _stream(path) as stream:
        data = stream.read(_HEADER)
    if len(data) < 348:
        raise ImageError("truncated NIfTI")
    version2 = data[4:7] == b"n+2"
    if not version2 and data[344:347] != b"n+1":
        raise ImageError("no NIfTI of one file")
    header = Nifti2Header(data, check=False) if version2 else Nifti1Header(data[:348], check=False)
    header.check_fix(logger=_SILENT)  # its own would print
    shape = _shape(header)
    if math.prod(shape) > MAX_VOXELS:
        raise ImageError(f"NIfTI of {math.prod(shape):,} voxels, more than {MAX_VOXELS:,}")
    if header.get_data_dtype().kind not in "uif":
        raise ImageError(f"NIfTI of type {header.get_data_dtype()}; numbers are read")
    if header.get_data_offset() > _FARTHEST:
        raise ImageError(f"NIfTI whose numbers begin after byte {header.get_data_offset():,}")
    return header


def _shape(header: Any) -> tuple[int, int, int]:
    """Voxels of the first volume along the three stored axes; a single slice has two."""
    whole = tuple(map(int, header.get_data_shape()))
    if len(whole) < 2 or min(whole) < 1 or max(whole[4:], default=1) > 1:
        raise ImageError(
            f"NIfTI of shape {'x'.join(map(str, whole))}; a slice has two axes, a volume three, a "
            "series four: save what more there is as files of their own"
        )
    columns, rows, slices = (*whole, 1)[:3]
    return columns, rows, slices


def _voxels(path: Path, header: Any) -> NDArray[Any]:
    """The first volume; scaled numbers in single precision, others as they are stored."""
    from nibabel.arrayproxy import ArrayProxy

    with _stream(path) as stream:
        data = ArrayProxy(stream, header, mmap=False)
        scaled = data.slope != 1 or data.inter != 0
        first = (..., *(0,) * (len(data.shape) - 3))
        try:
            volume = np.asarray(data[first], dtype=np.float32 if scaled else None)
        except gzip.BadGzipFile:
            raise
        except (EOFError, OSError) as error:  # nibabel's words name the file
            raise ImageError("truncated NIfTI") from error
    return volume.reshape(_shape(header))


def _orientation(header: Any) -> NDArray[np.float64]:
    """Which axis of the patient each stored one runs along, and whether to or from its end."""
    from nibabel.orientations import io_orientation

    orientation: NDArray[np.float64] = io_orientation(header.get_best_affine())
    lost = np.flatnonzero(np.isnan(orientation[:, 0]))
    if len(lost) == 1 and _shape(header)[int(lost[0])] == 1:  # one slice needs no thickness
        orientation[lost] = 3 - np.nansum(orientation[:, 0]), 1
    if not np.isfinite(orientation).all():
        raise ImageError("NIfTI whose header does not say how it lies in the patient")
    return orientation


def _axes(header: Any) -> list[int]:
    return [int(axis) for axis in _orientation(header)[:, 0]]


def _turned(volume: NDArray[Any], header: Any) -> NDArray[Any]:
    from nibabel.orientations import apply_orientation

    return np.asarray(apply_orientation(volume, _orientation(header)))


def _spacing(header: Any) -> list[float]:
    """Distance between voxels along X, Y and Z in millimetres."""
    sizes = np.sqrt((header.get_best_affine()[:3, :3] ** 2).sum(axis=0))
    return [float(sizes[_axes(header).index(axis)]) for axis in range(3)]
