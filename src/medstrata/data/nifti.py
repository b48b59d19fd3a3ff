"""NIfTI volumes to slices as a radiologist sees them.

Legend: X Y Z voxels to the right, to the front and to the top of the patient; H W height and width.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.intensity import own_range, ramp, refuse_non_finite, to_levels
from medstrata.data.reading import AXES, Picture, Reading
from medstrata.data.refusals import Refused
from medstrata.data.squares import square_pixels
from medstrata.errors import MedstrataError

MAX_VOXELS = 2**29  # 2,048 slices of 512 x 512
_SAMPLED = 2_000_000  # voxels that percentiles of a volume are taken from
# The axes of the volume that run down and along a slice, each from the far end: the patient's
# right is at the left, the front at the top of axial and at the left of sagittal slices.
_DOWN_ALONG = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}


def count_slices(path: Path, axis: str) -> int:
    """Slices of a volume along an axis, from its header.

    Raises:
        Refused: it is no volume of numbers, or a too large one.
        MedstrataError: nibabel is missing.
    """
    image, axes = _open(path)
    return int(image.shape[axes.index(_along(axis))])


def read_slices(path: Path, slices: Sequence[int | None], reading: Reading) -> Iterator[Picture]:
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
        Refused: it is no volume of numbers, too large, or holds non-finite numbers.
        MedstrataError: nibabel is missing.
    """
    image, axes = _open(path)
    notes = []
    if len(image.shape) == 4 and image.shape[3] > 1:
        notes.append(f"first of {image.shape[3]} volumes")
    volume = _turned(_voxels(image), image)
    spacing = _spacing(image, axes)
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
    reading: Reading,
    ends: tuple[float, float],
    notes: list[str],
) -> Picture:
    along = _along(reading.axis)
    count = volume.shape[along]
    number = count // 2 if number is None else number
    if number >= count:
        raise Refused(f"slice {number} of {count}")
    down, across = _DOWN_ALONG[reading.axis]
    plane = np.take(volume, number, axis=along)
    if down > across:  # the axes of the plane stand in the order of the volume's
        plane = plane.T
    plane = plane[::-1, ::-1]
    levels = to_levels(plane, lambda stored: stored, lambda *_: ramp(*ends), reading.bits)
    own = [f"{reading.axis} slice {number + 1} of {count}", *notes]
    pixels = square_pixels(levels, spacing[down], spacing[across], own)
    height, width = levels.shape
    return Picture(pixels=pixels, width=width, height=height, mode=str(volume.dtype), notes=own)


def _along(axis: str) -> int:
    return 2 - AXES.index(axis)


def _open(path: Path) -> tuple[Any, list[int]]:
    """The header, and the axis of the patient (X, Y, Z) that each stored axis runs along."""
    try:
        import nibabel
    except ImportError as error:
        raise MedstrataError(
            f"{path}: reading NIfTI needs nibabel: pip install 'medstrata[nifti]'"
        ) from error
    image: Any = nibabel.load(path)
    shape = image.shape
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise Refused(f"NIfTI of shape {'x'.join(map(str, shape))}; a volume has three axes")
    if math.prod(shape[:3]) > MAX_VOXELS:
        raise Refused(f"NIfTI of {math.prod(shape[:3]):,} voxels, more than {MAX_VOXELS:,}")
    if image.get_data_dtype().kind not in "uif":
        raise Refused(f"NIfTI of type {image.get_data_dtype()}; numbers are read")
    axes = nibabel.orientations.io_orientation(image.affine)[:, 0]
    if not np.isfinite(axes).all():
        raise Refused("NIfTI whose header does not say how it lies in the patient")
    return image, [int(axis) for axis in axes]


def _voxels(image: Any) -> NDArray[Any]:
    """The first volume; scaled numbers in single precision, others as they are stored."""
    data = image.dataobj
    scaled = data.slope != 1 or data.inter != 0
    first = data[..., 0] if len(image.shape) == 4 else data
    return np.asarray(first, dtype=np.float32 if scaled else None)


def _turned(volume: NDArray[Any], image: Any) -> NDArray[Any]:
    import nibabel

    return np.asarray(
        nibabel.orientations.apply_orientation(
            volume, nibabel.orientations.io_orientation(image.affine)
        )
    )


def _spacing(image: Any, axes: list[int]) -> list[float]:
    """Distance between voxels along X, Y and Z in millimetres."""
    sizes = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    return [float(sizes[axes.index(axis)]) for axis in range(3)]
