"""NIfTI volumes to slices as a radiologist sees them.

Legend: X Y Z voxels to the right, to the front and to the top of the patient; H W height and width.
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.grey_levels import own_range, ramp, refuse_non_finite, to_levels
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.pixel_spacing import square_pixels
from medstrata.data.formats.read_settings import AXES, ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.runtime.optional import import_optional

MAX_VOXELS = 2**29  # 2,048 slices of 512 x 512
_FARTHEST = 2**26  # byte that the numbers of a volume may begin at: there is no more to say before
_SAMPLED = 2_000_000  # voxels that percentiles of a volume are taken from
# The axes of the volume that run down and along a slice, each from the far end: the patient's
# right is at the left, the front at the top of axial and at the left of sagittal slices.
_DOWN_ALONG = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}


def count_slices(path: Path, axis: str) -> int:
    """Slices of a volume along an axis, from its header.

    Raises:
        ImageError: it is no volume of numbers, or a too large one.
        MedstrataError: nibabel is missing.
    """
    header, _ = _open(path)
    return int(header.get_data_shape()[_axes(header).index(_along(axis))])


def read_slices(
    path: Path, slices: Sequence[int | None], reading: ReadSettings
) -> Iterator[DecodedImage]:
    """Cut slices from a volume, whose voxels are scaled by one window.

    A volume is turned so that its axes run to the patient's right, front and top, whichever way the
    file stores them; of several volumes in time the first is taken; slices with oblong pixels are
    resampled to square ones.

    Args:
        path: A .nii or .nii.gz file.
        slices: Numbers from the patient's left, back or feet; None for the middle.
        reading: Axis, window and depth; percentiles are those of the volume.

    Yields:
        A picture a slice.

    Raises:
        ImageError: it is no volume of numbers, too large, or holds non-finite numbers.
        MedstrataError: nibabel is missing.
    """
    header, data = _open(path)
    notes = []
    if len(data.shape) == 4 and data.shape[3] > 1:
        notes.append(f"first of {data.shape[3]} volumes")
    if not (header["qform_code"] or header["sform_code"]):
        notes.append("header without orientation: rows taken to run to the patient's left")
    volume = _turned(_voxels(data), header)
    spacing = _spacing(header)
    refuse_non_finite(volume)
    step = max(1, math.ceil((volume.size / _SAMPLED) ** (1 / 3)))
    sample = volume[::step, ::step, ::step].astype(np.float64)
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


def _open(path: Path) -> tuple[Any, Any]:
    """The header, and the numbers, which stay in the file.

    Its own reading of both lets nibabel neither go by the file's name nor unpack extensions.
    """
    import_optional("nibabel", f"{path}: reading NIfTI", "nifti")
    from nibabel.arrayproxy import ArrayProxy

    header = _read_header(path)
    shape = header.get_data_shape()
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise ImageError(f"NIfTI of shape {'x'.join(map(str, shape))}; a volume has three axes")
    if math.prod(shape[:3]) > MAX_VOXELS:
        raise ImageError(f"NIfTI of {math.prod(shape[:3]):,} voxels, more than {MAX_VOXELS:,}")
    if header.get_data_dtype().kind not in "uif":
        raise ImageError(f"NIfTI of type {header.get_data_dtype()}; numbers are read")
    if header.get_data_offset() > _FARTHEST:
        raise ImageError(f"NIfTI whose numbers begin after byte {header.get_data_offset():,}")
    return header, ArrayProxy(path, header, mmap=False)


def _read_header(path: Path) -> Any:
    from nibabel import Nifti1Header, Nifti2Header

    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as stream:
        data = stream.read(540)
    version2 = data[4:7] == b"n+2"
    if not version2 and data[344:347] != b"n+1":
        raise ImageError("no NIfTI of one file")
    return Nifti2Header(data[:540]) if version2 else Nifti1Header(data[:348])


def _voxels(data: Any) -> NDArray[Any]:
    """The first volume; scaled numbers in single precision, others as they are stored."""
    scaled = data.slope != 1 or data.inter != 0
    try:
        first = data[..., 0] if len(data.shape) == 4 else data
        return np.asarray(first, dtype=np.float32 if scaled else None)
    except gzip.BadGzipFile:
        raise
    except (EOFError, OSError) as error:  # nibabel's words name the file
        raise ImageError("truncated NIfTI") from error


def _orientation(header: Any) -> NDArray[np.float64]:
    """Which axis of the patient each stored one runs along, and whether to or from its end."""
    from nibabel.orientations import io_orientation

    orientation: NDArray[np.float64] = io_orientation(header.get_best_affine())
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
