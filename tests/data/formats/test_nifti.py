"""Slices of volumes lie as a radiologist sees them, however the file stores them."""

import gzip
import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import apply_orientation, inv_ornt_aff, ornt_transform

from medstrata.data.formats.read import list_frames, read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from support.read_one import read_image

# Voxels to the patient's right, front and top: a value tells where it lies.
SHAPE = (4, 5, 6)
X, Y, Z = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
LABELLED = (100 * X + 10 * Y + Z).astype(np.int16)
FULL = {"window": "200/400"}  # 0 to 400
ORIENTATIONS = [
    np.array([order, flips]).T
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None, **header) -> Path:
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def expected(axis: str, number: int) -> np.ndarray:
    """Written out pixel by pixel, from what the docstring says."""
    right, front, top = (size - 1 for size in SHAPE)
    if axis == "axial":  # front at the top, the patient's right at the left
        rows = [[100 * (right - i) + 10 * (front - j) + number for i in range(4)] for j in range(5)]
    elif axis == "coronal":  # head at the top, the patient's right at the left
        rows = [[100 * (right - i) + 10 * number + (top - k) for i in range(4)] for k in range(6)]
    else:  # head at the top, front at the left
        rows = [[100 * number + 10 * (front - j) + (top - k) for j in range(5)] for k in range(6)]
    return np.rint(np.clip(np.array(rows) / 400, 0, 1) * 255)


@pytest.mark.parametrize("place", range(48))
def test_all_orientations_show_the_same_slice(tmp_path, place):
    orientation = ORIENTATIONS[place]
    straight = np.array([[0, 1], [1, 1], [2, 1]])
    stored = apply_orientation(LABELLED, ornt_transform(straight, orientation))
    affine = inv_ornt_aff(ornt_transform(straight, orientation), SHAPE)
    path = save(tmp_path / "x.nii", stored, affine)
    for axis, count in (("sagittal", 4), ("coronal", 5), ("axial", 6)):
        assert len(list_frames(path, axis)) == count
        reading = ReadSettings(axis=axis, **FULL)
        frames = [0, 2, count - 1]
        for frame, image in zip(frames, read_images(path, frames, reading), strict=True):
            np.testing.assert_array_equal(image.pixels, expected(axis, frame))
        middle = read_image(path, reading)
        np.testing.assert_array_equal(middle.pixels, expected(axis, count // 2))
        assert middle.conversion.startswith(f"{axis} slice {count // 2 + 1} of {count}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SAL"])
def test_axial_slices_are_those_of_simpleitk(tmp_path, suffix, code):
    """SimpleITK brings a volume to LPS: rows from front to back, columns from right to left."""
    generator = np.random.default_rng(1)
    affine = np.diag([1, 1, 1, 1.0])
    image = nibabel.Nifti1Image(generator.integers(0, 255, (7, 8, 9)).astype(np.uint8), affine)
    image = image.as_reoriented(
        ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(code)
        )
    )
    path = tmp_path / f"x{suffix.lower()}"
    nibabel.save(image, path)
    reference = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    path = path.rename(tmp_path / f"y{suffix}")
    volume = SimpleITK.GetArrayFromImage(reference)
    frames = list(range(len(volume)))
    slices = [item.pixels for item in read_images(path, frames, ReadSettings(window="127.5/255"))]
    np.testing.assert_array_equal(np.stack(slices), volume)


def test_oblique_volume_is_cut_along_its_nearest_axes(tmp_path):
    turn = np.eye(4)
    angle = np.deg2rad(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = save(tmp_path / "x.nii", LABELLED, turn)
    image = read_image(path, ReadSettings(**FULL))
    np.testing.assert_array_equal(image.pixels, expected("axial", 3))


def test_anisotropic_voxels_are_made_square(tmp_path):
    path = save(tmp_path / "x.nii", LABELLED, np.diag([1, 2, 5, 1.0]))
    shapes = {
        axis: read_image(path, ReadSettings(axis=axis)).pixels.shape
        for axis in ("axial", "coronal", "sagittal")
    }
    assert shapes == {"axial": (10, 4), "coronal": (30, 4), "sagittal": (15, 5)}
    image = read_image(path, ReadSettings(axis="axial", **FULL))
    assert (image.width, image.height) == (4, 5)
    assert "pixels of 2 x 1 made square" in image.conversion


@pytest.mark.parametrize("place", range(0, 48, 5))
def test_voxels_keep_their_sides_in_all_orientations(tmp_path, place):
    turn = ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), ORIENTATIONS[place])
    stored = apply_orientation(LABELLED, turn)
    affine = np.diag([1, 2, 5, 1.0]) @ inv_ornt_aff(turn, SHAPE)
    path = save(tmp_path / "x.nii", stored, affine)
    image = read_image(path, ReadSettings(axis="sagittal"))
    assert image.pixels.shape == (15, 5)
    assert "pixels of 5 x 2 made square" in image.conversion


def test_slope_and_intercept(tmp_path):
    image = nibabel.Nifti1Image(LABELLED, np.eye(4))
    image.header.set_slope_inter(0.5, -100)
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([0.5, -100], "<f4").tobytes()  # scl_slope and scl_inter
    data[352:] = LABELLED.tobytes(order="F")
    path = tmp_path / "x.nii"
    path.write_bytes(data)
    assert nibabel.load(path).get_fdata()[3, 4, 5] == 345 / 2 - 100
    image = read_image(path, ReadSettings(window="0/200", bits=16))
    rows = [[100 * (3 - i) + 10 * (4 - j) + 3 for i in range(4)] for j in range(5)]
    units = np.array(rows) / 2 - 100
    np.testing.assert_array_equal(image.pixels, np.rint((units + 100) / 200 * 65535).clip(0, 65535))


def test_of_several_volumes_the_first(tmp_path):
    data = np.stack([LABELLED, LABELLED[::-1], LABELLED * 0], axis=-1)
    image = read_image(save(tmp_path / "x.nii.gz", data), ReadSettings(**FULL))
    np.testing.assert_array_equal(image.pixels, expected("axial", 3))
    assert "first of 3 volumes" in image.conversion


def test_percentiles_are_those_of_the_volume(tmp_path):
    path = save(tmp_path / "x.nii", LABELLED)
    low, high = np.percentile(LABELLED, (0.5, 99.5))
    image = read_image(path, ReadSettings())
    units = np.array([[100 * (3 - i) + 10 * (4 - j) + 3 for i in range(4)] for j in range(5)])
    levels = np.rint(np.clip((units - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(image.pixels, levels)


def test_presets_are_in_hounsfield_units(tmp_path):
    path = save(tmp_path / "x.nii", (LABELLED * 5 - 1200).astype(np.int16))
    image = read_image(path, ReadSettings(window="lung", axis="sagittal"))
    units = (
        np.array([[200 + 10 * (4 - j) + (5 - k) for j in range(5)] for k in range(6)]) * 5 - 1200
    )
    np.testing.assert_array_equal(image.pixels, np.rint(np.clip((units + 1350) / 1500, 0, 1) * 255))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64", "uint16", "int64"])
def test_types_and_byte_orders(tmp_path, dtype):
    for order in "<>":
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
        small = (LABELLED % 251).astype(dtype)
        image = nibabel.Nifti1Image(small, np.eye(4), header)
        path = tmp_path / f"{ord(order)}.nii"
        nibabel.save(image, path)
        pixels = read_image(path, ReadSettings(window="127.5/255")).pixels
        np.testing.assert_array_equal(pixels, small[:, :, 3].T[::-1, ::-1])


def test_nifti_2(tmp_path):
    path = tmp_path / "x.nii"
    nibabel.save(nibabel.Nifti2Image(LABELLED, np.eye(4)), path)
    image = read_image(path, ReadSettings(**FULL))
    np.testing.assert_array_equal(image.pixels, expected("axial", 3))


def test_an_odd_header_is_mended_without_a_word_on_the_terminal(tmp_path, caplog):
    path = save(tmp_path / "x.nii", LABELLED)
    data = bytearray(path.read_bytes())
    data[0:4] = np.array([540], "<i4").tobytes()  # the size of a header of the other version
    path.write_bytes(data)
    np.testing.assert_array_equal(
        read_image(path, ReadSettings(**FULL)).pixels, expected("axial", 3)
    )
    assert caplog.records == []  # which nibabel prints


def test_header_without_orientation_says_so(tmp_path):
    image = nibabel.Nifti1Image(LABELLED, None)
    path = tmp_path / "x.nii"
    nibabel.save(image, path)
    assert "header without orientation" in read_image(path).conversion
    assert "orientation" not in read_image(save(tmp_path / "y.nii", LABELLED)).conversion


RGB = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
NAN = LABELLED.astype(np.float32)
NAN[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("data", "header", "reason"),
    [
        (LABELLED, {"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "NIfTI of 27,000,000,000,000"),
        (LABELLED, {"dim": [3, 30, 30, 30, 1, 1, 1, 1]}, "truncated"),
        (LABELLED, {"dim": [1, 4, 1, 1, 1, 1, 1, 1]}, "NIfTI of shape 4;"),
        (LABELLED, {"dim": [5, 4, 5, 2, 1, 3, 1, 1]}, "NIfTI of shape 4x5x2x1x3; a slice has two"),
        (LABELLED, {"dim": [3, 4, -5, 6, 1, 1, 1, 1]}, "NIfTI of shape"),
        (LABELLED, {"vox_offset": 1e30}, "NIfTI whose numbers begin after byte"),
        (LABELLED, {"srow_x": 0, "srow_y": 0, "srow_z": 0}, "NIfTI whose header does not say"),
        (LABELLED, {"datatype": 999}, "damaged"),
        (LABELLED.astype(np.complex64), {}, "NIfTI of type complex64"),
        (RGB, {}, "NIfTI of type"),
        (NAN * np.nan, {}, "no pixel is a number"),
        (np.where(np.isnan(NAN), np.inf, NAN), {}, "infinite pixels"),
        (LABELLED * 0, {}, "constant image"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_unusable_volumes_have_their_reason(tmp_path, data, header, reason, packed):
    image = nibabel.Nifti1Image(data, np.eye(4))
    written = bytearray(image.to_bytes())
    for name, value in header.items():
        field, place = image.header.structarr.dtype.fields[name]
        written[place : place + field.itemsize] = np.full(field.shape, value, field.base).tobytes()
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzip.compress(written) if packed else written)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(reason)
    assert len(list_frames(path, "axial")) in (1, 6, 30)


@pytest.mark.parametrize("length", [1, 9, 30, 60, -20])
def test_truncated_gzip(tmp_path, length):
    path = save(tmp_path / "x.nii.gz", np.random.default_rng(2).normal(size=SHAPE))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        read_image(path)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 1, 1, 1), (4, 5, 1, 1, 1, 1, 1)])
def test_one_slice_of_any_number_of_axes(tmp_path, shape):
    path = save(tmp_path / "x.nii", LABELLED[:, :, 3].reshape(shape))
    np.testing.assert_array_equal(
        read_image(path, ReadSettings(**FULL)).pixels, expected("axial", 3)
    )
    assert len(list_frames(path, "axial")) == 1
    data = bytearray(path.read_bytes())
    data[76 + 12 : 76 + 16] = bytes(4)  # pixdim[3]: no thickness
    data[280 + 8 : 280 + 12] = data[296 + 8 : 296 + 12] = data[312 + 8 : 312 + 12] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_array_equal(
        read_image(path, ReadSettings(**FULL)).pixels, expected("axial", 3)
    )


def test_a_series_has_axes_of_one_behind_it(tmp_path):
    series = np.stack([LABELLED, LABELLED[::-1]], axis=-1)[..., None]
    image = read_image(save(tmp_path / "x.nii", series), ReadSettings(**FULL))
    np.testing.assert_array_equal(image.pixels, expected("axial", 3))
    assert "first of 2 volumes" in image.conversion


def test_bytes_tell_whether_it_is_gzipped(tmp_path):
    plain, packed = save(tmp_path / "x.nii", LABELLED), save(tmp_path / "y.nii.gz", LABELLED)
    plain, packed = plain.rename(tmp_path / "a.nii.gz"), packed.rename(tmp_path / "b.nii")
    for path in (plain, packed):
        image = read_image(path, ReadSettings(**FULL))
        np.testing.assert_array_equal(image.pixels, expected("axial", 3))
        assert len(list_frames(path, "axial")) == 6


def test_voxels_that_are_no_number_are_background(tmp_path):
    path = save(tmp_path / "x.nii", np.where(LABELLED < 200, np.nan, LABELLED).astype(np.float32))
    low, high = np.percentile(LABELLED[LABELLED >= 200], (0.5, 99.5))
    units = np.array([[100 * (3 - i) + 10 * (4 - j) + 3 for i in range(4)] for j in range(5)])
    levels = np.rint(np.clip((units - low) / (high - low), 0, 1) * 255)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, np.where(units < 200, 0, levels))
    assert "60 pixels that are no number taken for background" in image.conversion
    (empty,) = read_images(path, [0], ReadSettings(axis="sagittal"))
    assert str(empty) == "constant image, every pixel 0"


def test_gzip_bomb_behind_a_small_header_is_not_unpacked(tmp_path):
    image = nibabel.Nifti1Image(LABELLED, np.eye(4))
    data = bytearray(image.to_bytes())
    data[348] = 1  # an extension follows, which says that it has 2 GB
    data[352:356] = np.array([2**31 - 16], "<i4").tobytes()
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(bytes(data) + b"\0" * 2**24))
    assert read_image(path, ReadSettings(**FULL)).pixels.shape == (5, 4)
