"""Images that lie as rows of an array in an npz archive or an HDF5 file.

An image file path leads into the container: `scans.npz/train_images` is one array, its frames are
the array's rows.

Legend: N rows, H W height and width, C channels.
"""

import hashlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.grey_levels import to_depth, window_values
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError, refuse_too_large
from medstrata.runtime.optional import import_optional

CONTAINERS = (".npz", ".h5", ".hdf5")
_CHANNELS = (1, 3)
_BLOCK = 2**24  # bytes skipped, or read ahead, at a time
_LARGEST_CHUNK = 2**30  # bytes of HDF5 that are unpacked at once, however few of them are wanted
_DENSEST = 1100  # times that deflate can shorten its input at most, rounded up


def split_container(path: Path) -> tuple[Path, str] | None:
    """The container and the name of the array in it, if the path leads into a container."""
    for parent in path.parents:
        if parent.suffix.lower() in CONTAINERS and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def read_rows(
    container: Path, array: str, rows: Sequence[int], reading: ReadSettings
) -> Iterator[DecodedImage]:
    """Read rows of an array in ascending order, holding few of them in memory.

    Args:
        container: An npz or HDF5 file.
        array: Name of the array, shape (N, H, W), or with 1 or 3 channels (N, H, W, C) or
            (N, C, H, W).
        rows: Row numbers, ascending.
        reading: Window and depth.

    Yields:
        The picture of each row.

    Raises:
        ImageError: there is no such array, or it does not hold images.
        MedstrataError: h5py is missing.
    """
    read = _npz_rows if container.suffix.lower() == ".npz" else _hdf5_rows
    for row in read(container, array, rows):
        yield _picture(row, reading)


def array_length(container: Path, array: str) -> int:
    """N of an array.

    Raises:
        ImageError: there is no such array, or it does not hold images.
    """
    if container.suffix.lower() == ".npz":
        with zipfile.ZipFile(container) as archive, _member(archive, array) as stream:
            shape, dtype = _header(stream)
            _refuse_empty_claim(shape, dtype, archive.getinfo(f"{array}.npy").compress_size)
            return shape[0]
    with _open_hdf5(container) as file:
        data = _dataset(file, array)
        _refuse_empty_claim(data.shape, data.dtype, data.id.get_storage_size())
        return int(data.shape[0])


def _picture(row: NDArray[Any], reading: ReadSettings) -> DecodedImage:
    notes = list[str]()
    if row.ndim == 3 and row.shape[-1] not in _CHANNELS:
        row = np.ascontiguousarray(np.moveaxis(row, 0, -1))
    pixels = row[..., 0] if row.ndim == 3 and row.shape[-1] == 1 else row
    height, width = pixels.shape[:2]
    if pixels.dtype == np.uint8:
        levels = to_depth(pixels, reading.bits)
    elif pixels.ndim == 2:
        levels = window_values(pixels, reading.window, reading.bits, notes)
    else:
        raise ImageError(f"colour of type {row.dtype}; uint8 is read: save it as 0 to 255")
    return DecodedImage(
        pixels=levels,
        width=width,
        height=height,
        mode=str(row.dtype),
        notes=notes,
        checksum=hashlib.sha256(row.tobytes()).hexdigest()[:32],
    )


def _npz_rows(container: Path, array: str, rows: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Rows one after another: the archive is unpacked as a stream, never as a whole."""
    with zipfile.ZipFile(container) as archive, _member(archive, array) as stream:
        shape, dtype = _header(stream)
        size = math.prod(shape[1:]) * dtype.itemsize
        place = 0
        for row in rows:
            if row >= shape[0]:
                raise ImageError(f"row {row} of {shape[0]}")
            _skip(stream, (row - place) * size)
            data = stream.read(size)
            if len(data) < size:
                raise ImageError("truncated: the array ends early")
            yield np.frombuffer(data, dtype).reshape(shape[1:])
            place = row + 1


def _member(archive: zipfile.ZipFile, array: str) -> IO[bytes]:
    try:
        return archive.open(f"{array}.npy")
    except KeyError as error:
        names = ", ".join(sorted(name.removesuffix(".npy") for name in archive.namelist())[:8])
        raise ImageError(f"no array {array!r} in it; it has {names}") from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(stream)
    if by_column:
        raise ImageError("array in Fortran order; save it with numpy.ascontiguousarray")
    _check(shape, dtype)
    return shape, dtype


def _check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    channels = len(shape) == 4 and (shape[3] in _CHANNELS or shape[1] in _CHANNELS)
    if not (len(shape) == 3 or channels) or dtype.kind not in "uif" or min(shape) < 1:
        raise ImageError(
            f"array of shape {shape} and type {dtype} does not hold images, which are numbers of "
            "shape (N, H, W), (N, H, W, 3) or (N, 3, H, W)"
        )
    first = 1 if len(shape) == 3 or shape[3] in _CHANNELS else 2
    refuse_too_large(shape[first + 1], shape[first])


def _refuse_empty_claim(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> None:
    """Refuse a header that promises more rows than any compression could keep in so few bytes."""
    if math.prod(shape) * dtype.itemsize > _DENSEST * size:
        raise ImageError(f"array of shape {shape} in no more than {size:,} bytes")


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0:
        skipped = len(stream.read(min(size, _BLOCK)))
        if not skipped:
            raise ImageError("truncated: the array ends early")
        size -= skipped


def _hdf5_rows(container: Path, array: str, rows: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Rows in blocks of neighbours, since a compressed chunk holds several."""
    with _open_hdf5(container) as file:
        data = _dataset(file, array)
        count = max(1, _BLOCK // max(1, math.prod(data.shape[1:]) * data.dtype.itemsize))
        start, block = 0, data[:0]
        for row in rows:
            if row >= data.shape[0]:
                raise ImageError(f"row {row} of {data.shape[0]}")
            if not start <= row < start + len(block):
                start, block = row, data[row : row + count]
            yield np.asarray(block[row - start])


def _open_hdf5(container: Path) -> Any:
    return import_optional("h5py", f"{container}: reading HDF5", "hdf5").File(container, "r")


def _dataset(file: Any, array: str) -> Any:
    data = file.get(array)
    if data is None or not hasattr(data, "shape"):
        raise ImageError(f"no array {array!r} in it; it has {', '.join(sorted(file)[:8])}")
    _check(tuple(data.shape), data.dtype)
    if data.file.filename != file.filename or data.external or data.is_virtual:
        raise ImageError(f"array {array!r} that lies in another file")
    if math.prod(data.chunks or (0,)) * data.dtype.itemsize > _LARGEST_CHUNK:
        raise ImageError(f"array with chunks of more than {_LARGEST_CHUNK:,} bytes")
    return data
