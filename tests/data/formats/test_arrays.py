"""Arrays in npz archives and HDF5 files, row by row."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from medstrata.data.formats.read import list_frames, read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from support.read_one import read_image

GENERATOR = np.random.default_rng(12)
GREY = GENERATOR.integers(0, 256, (50, 12, 10), dtype=np.uint8)
RGB = GENERATOR.integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
DEEP = GENERATOR.integers(0, 4000, (9, 12, 10)).astype(np.int16)


def save_npz(path: Path, deflated: bool, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if deflated else np.savez)(path, **arrays)
    return path


def save_hdf5(path: Path, deflated: bool, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            options = {"chunks": (7, *array.shape[1:]), "compression": "gzip"} if deflated else {}
            file.create_dataset(name, data=array, **options)
    return path


SAVERS = pytest.mark.parametrize(
    ("save", "suffix", "form"), [(save_npz, ".npz", "npz"), (save_hdf5, ".h5", "HDF5")]
)


@SAVERS
@pytest.mark.parametrize("deflated", [False, True])
def test_rows_out_of_the_middle(tmp_path, save, suffix, form, deflated):
    path = save(tmp_path / f"scans{suffix}", deflated, other=RGB, train_images=GREY, colour=RGB)
    assert len(list_frames(path / "train_images", "axial")) == 50
    rows = [0, 1, 17, 18, 44, 49]
    images = list(read_images(path / "train_images", rows, ReadSettings()))
    for row, image in zip(rows, images, strict=True):
        np.testing.assert_array_equal(image.pixels, GREY[row])
        assert (image.format, image.mode, image.width, image.height) == (form, "uint8", 10, 12)
    assert len({image.checksum for image in images}) == len(rows)
    (colour,) = read_images(path / "colour", [3], ReadSettings())
    np.testing.assert_array_equal(colour.pixels, RGB[3])


@SAVERS
def test_one_channel_depth_and_windows(tmp_path, save, suffix, form):
    path = save(tmp_path / f"scans{suffix}", True, one=GREY[..., None], deep=DEEP)
    np.testing.assert_array_equal(read_image(path / "one").pixels, GREY[0])
    np.testing.assert_array_equal(
        read_image(path / "one", ReadSettings(bits=16)).pixels, GREY[0] * np.uint16(257)
    )
    (image,) = read_images(path / "deep", [4], ReadSettings(window="2000/4000", bits=16))
    np.testing.assert_array_equal(image.pixels, np.rint(DEEP[4] / 4000 * 65535))
    assert (image.mode, image.format) == ("int16", form)


@SAVERS
@pytest.mark.parametrize("dtype", ["uint64", ">u2", "int8", "float16", "int64", ">f8", "uint32"])
def test_every_type_of_number(tmp_path, save, suffix, form, dtype):  # noqa: ARG001
    offset = {"uint64": 2**50, "int64": -(2**50), "uint32": 2**31 + 9}.get(dtype, 0)
    plain = np.arange(120).reshape(1, 12, 10)
    array = (plain.astype(object) + offset).astype(dtype)
    path = save(tmp_path / f"x{suffix}", False, a=array)
    levels = read_image(path / "a", ReadSettings(window="full")).pixels
    assert np.abs(levels - plain[0] / 119 * 255).max() <= 1
    assert levels[0, 0] == 0
    assert levels[-1, -1] == 255


def reason(path: Path, frame: int | None = None) -> str:
    (result,) = read_images(path, [frame], ReadSettings())
    assert isinstance(result, ImageError)
    return str(result)


@SAVERS
def test_what_is_not_there(tmp_path, save, suffix, form):  # noqa: ARG001
    path = save(tmp_path / f"x{suffix}", False, scans=GREY, flat=GREY[0, 0], masks=RGB)
    assert reason(path / "images").startswith("no array 'images' in it; it has flat, masks, scans")
    assert reason(path / "flat").startswith("array of shape (10,)")
    assert reason(path / "scans", 50) == "row 50 of 50"
    assert reason(path) in ("unsupported format zip or npz, which is prepared by itself",
                            "unsupported format HDF5, which is prepared by itself")  # fmt: skip
    whole = path.read_bytes()
    for length in (3, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert reason(path / "scans", 40).startswith(("damaged", "truncated", "no array"))
        assert len(list_frames(path / "scans", "axial")) == 1


def with_header(path: Path, member: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", member)
    return path / "a"


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("{'descr': '|u1', 'fortran_order': True, 'shape': (5, 4, 4)}", "array in Fortran order"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (5, 4, 4)}", "array of shape"),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (5, 4, 4)}", "array of shape"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 4, 2)}", "array of shape"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-5, 4, 4)}", "array of shape"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 0, 4)}", "array of shape"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 99999, 99999)}", "99999 x 99999"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000, 4, 4)}", "truncated"),
        ("__import__('os').system('true')", "damaged"),
    ],
)
def test_headers_that_are_refused(tmp_path, header, wanted):
    path = with_header(tmp_path / "x.npz", npy(header, b"abcd"))
    assert reason(path).startswith(wanted)
    assert len(list_frames(path, "axial")) == 1


def test_object_arrays_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([[[print]]], dtype=object))
    assert reason(tmp_path / "x.npz" / "a").startswith("array of shape (1, 1, 1) and type object")


def test_colour_of_other_types_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=RGB.astype(np.float32))
    assert (
        reason(tmp_path / "x.npz" / "a")
        == "colour of type float32; uint8 is read: save it as 0 to 255"
    )


def test_hdf5_leads_nowhere_else(tmp_path):
    save_hdf5(tmp_path / "secret.h5", False, scans=GREY)
    (tmp_path / "raw.bin").write_bytes(GREY.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("secret.h5", "scans")
        file.create_dataset(
            "outside", GREY.shape, np.uint8, external=[(str(tmp_path / "raw.bin"), 0, GREY.nbytes)]
        )
        layout = h5py.VirtualLayout(GREY.shape, np.uint8)
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "scans", GREY.shape)
        file.create_virtual_dataset("virtual", layout)
        file["soft"] = h5py.SoftLink("/group/own")
        file.create_dataset("group/own", data=GREY)
    for name in ("linked", "outside", "virtual"):
        assert reason(tmp_path / "x.h5" / name) == f"array {name!r} that lies in another file"
    np.testing.assert_array_equal(read_image(tmp_path / "x.h5" / "soft").pixels, GREY[0])
    np.testing.assert_array_equal(read_image(tmp_path / "x.h5" / "group/own").pixels, GREY[0])


def test_hdf5_that_claims_what_it_does_not_hold(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("empty", (10**12, 64, 64), np.uint8, chunks=(1, 64, 64))
        file.create_dataset(
            "chunk", (2**15, 2**8, 2**8), np.uint8, chunks=(2**15, 2**8, 2**8), compression="gzip"
        )
        file.create_dataset("text", data=[[["a"]]])
    assert len(list_frames(tmp_path / "x.h5" / "empty", "axial")) == 1
    assert reason(tmp_path / "x.h5" / "chunk").startswith("array with chunks of more than")
    assert reason(tmp_path / "x.h5" / "text").startswith("array of shape (1, 1, 1)")


def test_rows_of_all_zeros_are_counted(tmp_path):
    for deflated in (False, True):
        zeros = np.zeros((4000, 64, 64), np.uint8)
        path = save_npz(tmp_path / "x.npz", deflated, a=zeros)
        assert len(list_frames(path / "a", "axial")) == 4000
        assert reason(path / "a", 3999) == "constant image, every pixel 0"


def test_bytes_beside_the_array_do_not_count(tmp_path):
    stream = io.BytesIO()
    np.save(stream, GREY)
    path = with_header(tmp_path / "x.npz", stream.getvalue() + b"more")
    np.testing.assert_array_equal(read_image(path).pixels, GREY[0])
