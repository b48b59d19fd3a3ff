"""Frames, geometry, compression and damage of DICOM files built here."""

import re

import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from medstrata.data.formats.dicom.read import count_frames, read_frames
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from support import dicom_files
from support.dicom_files import NUMBERS, item, make, read, refusal, reread, scaled, written

# --- frames ---

FRAMES = np.random.default_rng(11).integers(0, 4000, (7, 20, 30)).astype(np.uint16)


def test_frames():
    dataset = make(FRAMES, WindowCenter=2000.5, WindowWidth=4001)
    data = written(dataset)
    assert count_frames(data) == 7
    pictures = list(read_frames(data, [0, 3, 6], ReadSettings()))
    for picture, number in zip(pictures, (0, 3, 6), strict=True):
        np.testing.assert_array_equal(picture.pixels, scaled(FRAMES[number], 0, 4000))
        assert picture.notes[0] == f"frame {number + 1} of 7"
    np.testing.assert_array_equal(read(dataset).pixels, pictures[1].pixels)  # the middle one
    assert refusal(dataset, 7) == "frame 7 of 7"


def enhanced() -> dicom_files.Dataset:
    groups = [
        item(
            PixelValueTransformationSequence=[
                item(RescaleSlope=number + 1, RescaleIntercept=-number, RescaleType="US")
            ],
            FrameVOILUTSequence=[item(WindowCenter=2000 * number, WindowWidth=4001)],
        )
        for number in range(7)
    ]
    dataset = make(FRAMES, PerFrameFunctionalGroupsSequence=groups)
    dataset.RescaleSlope, dataset.RescaleIntercept = 99, 99  # what holds for a frame comes first
    return dataset


def test_frames_with_slopes_and_windows_of_their_own():
    dataset = enhanced()
    for number in range(7):
        units = FRAMES[number] * (number + 1.0) - number
        center = 2000 * number - 0.5
        expected = scaled(units, center - 2000, center + 2000)
        np.testing.assert_array_equal(read(dataset, number).pixels, expected)


def test_what_all_frames_share():
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=3, RescaleIntercept=1)],
        FrameVOILUTSequence=[item(WindowCenter=6000.5, WindowWidth=12001)],
        PixelMeasuresSequence=[item(PixelSpacing=[2, 1])],
    )
    dataset = make(FRAMES, SharedFunctionalGroupsSequence=[shared])
    picture = read(dataset, 2)
    assert picture.pixels.shape == (40, 30)  # of rows two apart and columns one
    assert "pixels of 2 x 1 made square" in picture.notes
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1, 1]
    expected = scaled(FRAMES[2] * 3.0 + 1, 0, 12000)
    np.testing.assert_array_equal(read(dataset, 2).pixels, expected)


def test_frames_that_are_not_there_count_as_one_that_is_refused():
    dataset = make(FRAMES)
    dataset.NumberOfFrames = 2**31 - 1
    assert count_frames(written(dataset)) == 8
    assert refusal(dataset, 0).startswith("truncated DICOM")
    compressed = reread(make(FRAMES))
    compressed.compress(RLELossless)
    compressed.NumberOfFrames = 2**31 - 1
    assert count_frames(written(compressed)) == 8
    np.testing.assert_array_equal(read(compressed, 6).pixels, read(make(FRAMES), 6).pixels)
    assert refusal(compressed, 7) == "truncated DICOM: 7 of 2147483647 frames are in it"


# --- geometry ---


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_oblong_pixels(name):
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    dataset = make(values)
    setattr(dataset, name, [1, 2])  # rows one apart, columns two
    picture = read(dataset)
    assert picture.pixels.shape == (10, 40)
    assert (picture.width, picture.height) == (20, 10)
    expected = np.interp(np.arange(40) / 2 - 0.25, np.arange(20), values[4])
    np.testing.assert_allclose(picture.pixels[4], expected, atol=0.51)


@pytest.mark.parametrize("spacing", [[1, 1], [0, 0], [-1, 2], 3])
def test_spacing_that_says_nothing(spacing):
    dataset = make(np.arange(200, dtype=np.uint8).reshape(10, 20), PixelSpacing=spacing)
    assert read(dataset).pixels.shape == (10, 20)


# --- containers and damage ---


@pytest.mark.parametrize("implicit", [False, True])
def test_without_preamble(implicit):
    dataset = make(NUMBERS)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole = written(dataset)
    place = whole.index(b"\x08\x00\x16\x00")  # the first element after the preamble and group 2
    (bare,) = read_frames(whole[place:], [None], ReadSettings())
    np.testing.assert_array_equal(bare.pixels, read(dataset).pixels)


def test_rle():
    dataset = reread(make(NUMBERS))
    dataset.compress(RLELossless)
    np.testing.assert_array_equal(read(dataset).pixels, read(make(NUMBERS)).pixels)


def jpeg_lossless(values: np.ndarray, bits: int) -> bytes:
    imagecodecs = pytest.importorskip("imagecodecs")
    return imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=bits)


@pytest.mark.parametrize("end", ["57", "70"])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_jpeg_against_values_and_simpleitk(end, signed, tmp_path):
    import SimpleITK

    values = NUMBERS.astype(np.int32) - (2048 if signed else 0)
    stream = jpeg_lossless((values & 0xFFF).astype(np.uint16), 12)
    dataset = compressed(stream, end)
    dataset.WindowCenter, dataset.WindowWidth = 0, 8001
    dataset.PixelRepresentation = int(signed)
    picture = read(dataset)
    np.testing.assert_array_equal(picture.pixels, scaled(values, -4000.5, 3999.5))
    path = tmp_path / "x.dcm"
    path.write_bytes(written(dataset))
    theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(np.squeeze(theirs), values)


def compressed(stream: bytes, end: str) -> dicom_files.Dataset:
    from pydicom.encaps import encapsulate

    dataset = make(NUMBERS, BitsStored=12)
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{end}"
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_jpeg_ls_and_jpeg_2000():
    imagecodecs = pytest.importorskip("imagecodecs")
    plain = read(make(NUMBERS)).pixels
    jpeg_ls = imagecodecs.jpegls_encode(NUMBERS)
    np.testing.assert_array_equal(read(compressed(jpeg_ls, "80")).pixels, plain)
    # Without its end CharLS would search for seconds.
    cut = compressed(jpeg_ls[:-6], "80")
    assert refusal(cut) == "truncated DICOM: a JPEG-LS frame without its end"
    for form in ("j2k", "jp2"):  # the codestream alone, and in boxes
        stream = imagecodecs.jpeg2k_encode(NUMBERS, level=0, reversible=True, codecformat=form)
        np.testing.assert_array_equal(read(compressed(stream, "90")).pixels, plain)
        assert refusal(compressed(stream[:60], "90")).startswith("damaged DICOM")
    assert "without a header" in refusal(compressed(b"\0" * 60, "90"))


def test_compressed_frame_of_another_size_is_refused():
    dataset = compressed(jpeg_lossless(np.ones((9, 9), np.uint16), 12), "70")
    reason = "damaged DICOM: 40 x 30 x 1 by the file, 9 x 9 x 1 by its compressed frame"
    assert refusal(dataset) == reason


@pytest.mark.parametrize("name", ["Rows", "Columns", "PixelData"])
def test_missing_pixels(name):
    dataset = make(NUMBERS)
    delattr(dataset, name)
    assert refusal(dataset) == "DICOM without pixels (modality OT)"


def test_private_compression_is_not_quoted():
    dataset = make(NUMBERS)
    data = written(dataset).replace(b"1.2.840.10008.1.2.1\0", b"1.2.826.1234567890.1")
    with pytest.raises(ImageError, match=r"^(no codec for private compression|damaged DICOM .*)$"):
        list(read_frames(data, [None], ReadSettings()))


def test_deflated_bomb(monkeypatch):
    monkeypatch.setattr("medstrata.data.formats.dicom.read.MAX_INFLATED", 2**20)
    dataset = make(np.zeros((2000, 2000), np.uint8))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    # A long element before the syntax hides it from a look at the first bytes alone.
    dataset.file_meta.FileMetaInformationVersion = b"\0" * 4000
    assert refusal(dataset) == "deflated data of more than 1,048,576 bytes"
    small = make(NUMBERS)
    small.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    np.testing.assert_array_equal(read(small).pixels, read(make(NUMBERS)).pixels)


def test_truncation_anywhere_is_refused():
    whole = written(make(NUMBERS))
    for length in range(132, len(whole) - 1, 97):
        with pytest.raises(ImageError, match=re.compile("truncated|damaged|without pixels")):
            list(read_frames(whole[:length], [None], ReadSettings()))
