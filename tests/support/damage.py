"""Reads damaged copies of small valid files in a process with a limit on memory.

As a program: `python damage.py FOLDER SEED EXAMPLES FORMAT...`. The file at hand lies in the
folder, so that one that crashes the process is there to be looked at.
"""

import faulthandler
import gzip
import io
import resource
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import nibabel
import numpy as np
import pydicom
import tifffile
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read import list_frames, read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError

MEMORY = 3 * 2**30
SLOWEST_S = 5  # of the processor; a busy machine makes nothing slow
HANGS_S = 300
MOST_IMAGES = 2**20  # of a file of some kilobytes: each would become a row of a table
DICOM = Path(pydicom.__file__).parent / "data" / "test_files"
GENERATOR = np.random.default_rng(5)
GREY = GENERATOR.integers(0, 256, (24, 20), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (24, 20, 3), dtype=np.uint8)
OTHER = Pillow.fromarray(255 - GREY)
VOLUME = GENERATOR.integers(-900, 900, (7, 6, 5)).astype(np.int16)


def encoded(pixels: np.ndarray, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def bundled(name: str) -> Callable[[], bytes]:
    return (DICOM / name).read_bytes


def two_pages() -> bytes:
    return encoded(GREY, "TIFF", save_all=True, append_images=[OTHER], compression="tiff_lzw")


def encoded_tiff(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels)
    return stream.getvalue()


def nifti() -> bytes:
    image = nibabel.Nifti1Image(VOLUME, np.diag([1.0, 2, 3, 1]))
    image.header.set_slope_inter(2, 1)
    return image.to_bytes()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.stack([GREY] * 3))
    return stream.getvalue()


def zipped(member: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scans.npy", member)
    return stream.getvalue()


def hdf5() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        rows = np.stack([GREY] * 3)
        file.create_dataset("scans", data=rows, chunks=(1, 24, 20), compression="gzip")
    return stream.getvalue()


# Name of the file, a valid one, and what is done to the damaged bytes last.
FORMATS: dict[str, tuple[str, Callable[[], bytes], Callable[[bytes], bytes]]] = {
    "png": ("x.png", lambda: encoded(RGB, "PNG"), bytes),
    "png16": ("x.png", lambda: encoded(GREY.astype(np.uint16) * 99, "PNG"), bytes),
    "jpeg": ("x.jpg", lambda: encoded(RGB, "JPEG"), bytes),
    "progressive": ("x.jpg", lambda: encoded(RGB, "JPEG", progressive=True), bytes),
    "tiff": ("x.tif", lambda: encoded(RGB, "TIFF"), bytes),
    "lzw": ("x.tif", two_pages, bytes),
    "tiff-jpeg": ("x.tif", lambda: encoded(RGB, "TIFF", compression="jpeg"), bytes),
    "double": ("x.tif", lambda: encoded_tiff(GREY.astype(np.float64)), bytes),
    "half": ("x.tif", lambda: encoded_tiff(GREY.astype(np.float16)), bytes),
    "bmp": ("x.bmp", lambda: encoded(RGB, "BMP"), bytes),
    "gif": ("x.gif", lambda: encoded(GREY, "GIF", save_all=True, append_images=[OTHER]), bytes),
    "pgm": ("x.pgm", lambda: encoded(GREY, "PPM"), bytes),
    "pgm16": ("x.pgm", lambda: b"P5 20 24 4095\n" + (GREY * np.uint16(9)).tobytes(), bytes),
    "webp": ("x.webp", lambda: encoded(RGB, "WEBP"), bytes),
    "webp-lossless": ("x.webp", lambda: encoded(RGB, "WEBP", lossless=True), bytes),
    "jp2": ("x.jp2", lambda: encoded(RGB, "JPEG2000"), bytes),
    "j2k": ("x.j2k", lambda: encoded(GREY, "JPEG2000", no_jp2=True), bytes),
    "dicom": ("x.dcm", bundled("MR_small.dcm"), bytes),
    "dicom-implicit": ("x.dcm", bundled("MR_small_implicit.dcm"), bytes),
    "dicom-rle": ("x.dcm", bundled("MR_small_RLE.dcm"), bytes),
    "dicom-jpeg": ("x.dcm", bundled("SC_rgb_small_odd_jpeg.dcm"), bytes),
    "dicom-jpeg-lossless": ("x.dcm", bundled("SC_rgb_jpeg_gdcm.dcm"), bytes),
    "dicom-jpeg-ls": ("x.dcm", bundled("JPEGLSNearLossless_08.dcm"), bytes),
    "dicom-jpeg-ls-16": ("x.dcm", bundled("MR_small_jpeg_ls_lossless.dcm"), bytes),
    "dicom-jpeg-2000": ("x.dcm", bundled("MR_small_jp2klossless.dcm"), bytes),
    "dicom-jpeg-2000-colour": ("x.dcm", bundled("GDCMJ2K_TextGBR.dcm"), bytes),
    "dicom-deflated": ("x.dcm", bundled("image_dfl.dcm"), bytes),
    "dicom-frames": ("x.dcm", bundled("SC_rgb_rle_2frame.dcm"), bytes),
    "nifti": ("x.nii", nifti, bytes),
    "nifti-in-gzip": ("x.nii.gz", nifti, gzip.compress),
    "gzip": ("x.nii.gz", lambda: gzip.compress(nifti()), bytes),
    "npy-in-npz": ("x.npz/scans", npy, zipped),
    "npz": ("x.npz/scans", lambda: zipped(npy()), bytes),
    "hdf5": ("x.h5/scans", hdf5, bytes),
}
# Where headers lie: damage there does more than in the middle of pixels.
_LANDMARKS = (
    *(b"DICM", b"\xe0\x7f\x10\x00", b"\x28\x00\x02\x00", b"\xff\xd8", b"\xff\xc0", b"\xff\xf7"),
    *(b"\xff\xda", b"\xff\x4f\xff\x51", b"\xff\x52", b"\xff\x90", b"jp2h", b"IHDR", b"IDAT"),
    *(b"VP8", b"PK\x01\x02", b"PK\x05\x06", b"NUMPY", b"TREE", b"SNOD", b"HEAP", b"OHDR"),
)
_EXTREMES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]

Edit = tuple[str, tuple[int, int], Any]  # what, where, and how much or with what
places = st.tuples(st.integers(0, 12), st.integers(0, 2**20))
edits = st.one_of(
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("byte"), places, st.integers(0, 255)),
    st.tuples(st.sampled_from(["2<", "2>", "4<", "4>"]), places, st.sampled_from(_EXTREMES)),
    st.tuples(st.just("cut"), places, st.just(0)),
    st.tuples(st.just("delete"), places, st.integers(1, 64)),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("repeat"), places, st.integers(1, 64)),
    st.tuples(st.just("splice"), places, places),
)


def find_anchors(data: bytes) -> list[int]:
    found = [data.find(mark) for mark in _LANDMARKS]
    return [0, *(place for place in found if place > 0)]


def place_in(data: bytearray, anchors: list[int], place: tuple[int, int]) -> int:
    """A place near a landmark, or, every third time, anywhere."""
    anchor, offset = place
    if anchor % 3 == 0:
        return offset % max(1, len(data))
    return min(anchors[(anchor + offset) % len(anchors)] + offset % 64, max(0, len(data) - 1))


def damaged(valid: bytes, changes: list[Edit]) -> bytes:
    data, anchors = bytearray(valid), find_anchors(valid)
    for kind, place, value in changes:
        at = place_in(data, anchors, place)
        if kind == "cut":
            del data[at:]
        elif not data:
            break
        elif kind == "flip":
            data[at] ^= 1 << value
        elif kind == "byte":
            data[at] = value
        elif kind == "delete":
            del data[at : at + value]
        elif kind == "insert":
            data[at:at] = value
        elif kind == "repeat":
            data[at:at] = data[at : at + value]
        elif kind == "splice":
            other = place_in(data, anchors, value)
            data[at : at + 32] = data[other : other + 32]
        else:
            size = int(kind[0])
            order = "little" if kind[1] == "<" else "big"
            data[at : at + size] = (value % 256**size).to_bytes(size, order)
    return bytes(data)


def check(path: Path, depth: Literal[8, 16]) -> None:
    """Read a file as `prepare` does; whatever it is, the answer is an image or a reason."""
    start = time.process_time()
    count = len(list_frames(path, "axial"))
    assert 1 <= count < MOST_IMAGES, count
    frames = [None] if count == 1 else [0, count - 1]
    for result in read_images(path, frames, ReadSettings(bits=depth), 256):
        if isinstance(result, ImageError):
            assert str(result)
            assert str(result) != "needs more memory than there is"
        else:
            assert isinstance(result, DecodedImage)
            assert result.pixels.ndim in (2, 3)
            assert result.pixels.dtype == (np.uint8 if depth == 8 else np.uint16)
            assert result.pixels.min() < result.pixels.max()
    assert time.process_time() - start < SLOWEST_S


def run(folder: Path, form: str, number: int, examples: int) -> None:
    name, make, finish = FORMATS[form]
    valid = make()
    path = folder / name
    container = path if path.parent == folder else path.parent
    container.write_bytes(finish(valid))
    (image,) = read_images(path, [None], ReadSettings())
    assert isinstance(image, DecodedImage), image

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(edits, min_size=1, max_size=5), st.sampled_from([8, 8, 16]))
    def survive(changes: list[Edit], depth: Literal[8, 16]) -> None:
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        container.write_bytes(finish(damaged(valid, changes)))
        check(path, depth)
        faulthandler.cancel_dump_traceback_later()

    survive()


if __name__ == "__main__":
    faulthandler.enable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for form in sys.argv[4:]:
        sys.stdout.write(f"{form}\n")
        sys.stdout.flush()
        run(Path(sys.argv[1]), form, int(sys.argv[2]), int(sys.argv[3]))
