"""Stored values of pydicom's bundled files, against another decoder and against known colours."""

import io
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medstrata.data.formats.dicom.read import _check, _parse, _stored_values, read_frames
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from support.dicom_files import make, scaled, written

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
# GDCM, and so SimpleITK, swaps the bytes of RLE colour of more than 8 bits.
KNOWN_BY_HAND = {
    "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm", "examples_palette.dcm",
}  # fmt: skip
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": "without pixels",
    "JPEG2000-embedded-sequence-delimiter.dcm": "256 x 1024 x 1 by the file",
    "MR_truncated.dcm": "truncated DICOM",
    "badVR.dcm": "an RT dose grid",
    "liver_1frame.dcm": "a segmentation",
    "reportsi.dcm": "without pixels (modality SR)",
    "rtdose_rle.dcm": "an RT dose grid",
}
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def parsed(name: str) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parse((FOLDER / name).read_bytes())


def is_image(path: Path) -> bool:
    try:
        _check(parsed(path.name))
    except ImageError:
        return False
    return True


IMAGES = {path.name for path in FOLDER.glob("*.dcm") if is_image(path)}


def test_there_are_images_of_every_compression():
    syntaxes = {str(parsed(name).file_meta.TransferSyntaxUID) for name in IMAGES}
    ends = ("1.99", "4.50", "4.51", "4.70", "4.80", "4.81", "4.90", "4.91", "5")
    assert {f"1.2.840.10008.1.2.{end}" for end in ends} <= syntaxes
    assert len(IMAGES) > 50


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(IMAGES - KNOWN_BY_HAND - set(REFUSED)))
def test_values_are_those_of_simpleitk(name):
    dataset = parsed(name)
    count = int(dataset.get("NumberOfFrames") or 1)
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    reference = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(FOLDER / name)))
    for frame in {0, count // 2, count - 1}:
        stored = _stored_values(dataset, frame).astype(float)
        expected = reference[frame] if reference.ndim > stored.ndim else reference
        np.testing.assert_array_equal(stored * slope + intercept, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_or_damaged_is_refused(name):
    with pytest.raises(ImageError) as caught:
        list(read_frames((FOLDER / name).read_bytes(), [None], ReadSettings()))
    assert REFUSED[name] in str(caught.value)


BANDS = [  # of ten rows each, in 8 bits
    (255, 0, 0), (255, 128, 128), (0, 255, 0), (128, 255, 128), (0, 0, 255), (128, 128, 255),
    (0, 0, 0), (64, 64, 64), (192, 192, 192), (255, 255, 255),
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(KNOWN_BY_HAND - {"examples_palette.dcm"}))
def test_rle_colour_of_many_bits_by_hand(name):
    dataset = parsed(name)
    top = 2 ** int(dataset.BitsStored) - 1
    bands = np.repeat(np.array(BANDS, np.int64) * (top // 255), 10, axis=0)
    expected = np.broadcast_to(bands[:, None], (100, 100, 3))
    np.testing.assert_array_equal(_stored_values(dataset, 0), expected)
    if "2frame" in name:
        np.testing.assert_array_equal(_stored_values(dataset, 1), top - expected)


def test_palette_by_hand():
    data = (FOLDER / "examples_palette.dcm").read_bytes()
    dataset = parsed("examples_palette.dcm")
    (picture,) = read_frames(data, [None], ReadSettings())
    places = np.frombuffer(dataset.PixelData, np.uint8)[: 350 * 800].reshape(350, 800)
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        high_bytes = dataset[f"{colour}PaletteColorLookupTableData"].value[1::2]
        table = np.frombuffer(high_bytes, np.uint8)
        np.testing.assert_array_equal(picture.pixels[..., channel], table[places])
    assert "palette to RGB" in picture.notes


COLOURS = np.zeros((32, 48, 3), np.uint8)
COLOURS[:] = (230, 60, 20)
COLOURS[:, 24:] = (20, 200, 60)


def compressed(pixels: np.ndarray, syntax: str, stream: bytes, **attributes: object) -> bytes:
    dataset = make(pixels, **attributes)
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{syntax}")
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return written(dataset)


def jfif(subsampling: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG", quality=95, subsampling=subsampling)
    return stream.getvalue()


def without_jfif(data: bytes) -> bytes:
    start = data.index(b"\xff\xe0")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def jpeg_2000(transformed: bool) -> bytes:
    return imagecodecs.jpeg2k_encode(
        COLOURS, level=0, reversible=True, codecformat="j2k", mct=transformed
    )


RGB_JPEG = imagecodecs.jpeg8_encode(COLOURS, level=95, colorspace="RGB", outcolorspace="RGB")


@pytest.mark.parametrize(
    ("syntax", "stream", "said"),
    [
        *(("50", jfif(0), "YBR_FULL_422"), ("50", jfif(0), "RGB"), ("50", jfif(2), "RGB")),
        *(("50", without_jfif(jfif(2)), "RGB"), ("50", without_jfif(jfif(0)), "YBR_FULL")),
        *(("50", RGB_JPEG, "RGB"), ("50", RGB_JPEG, "YBR_FULL_422")),
        *(("90", jpeg_2000(transformed=True), "YBR_RCT"), ("90", jpeg_2000(False), "RGB")),
        *(("90", jpeg_2000(True), "YBR_FULL"), ("90", jpeg_2000(True), "YBR_FULL_422")),
    ],
)
def test_a_stream_that_cannot_be_what_the_file_says_wins(syntax, stream, said):
    data = compressed(COLOURS, syntax, stream, PhotometricInterpretation=said)
    (picture,) = read_frames(data, [None], ReadSettings())
    assert np.abs(picture.pixels.astype(int) - COLOURS).mean() < 5


VALUES = np.linspace(-1000, 3071, 32 * 48).round().astype(np.int16).reshape(32, 48)


@pytest.mark.parametrize("stored", [13, 16])
def test_the_sign_stands_in_the_highest_bit_that_the_stream_has(stored):
    stream = imagecodecs.jpeg2k_encode(
        VALUES.view(np.uint16) & 0x1FFF, level=0, reversible=True, codecformat="j2k",
        bitspersample=13,
    )  # fmt: skip
    data = compressed(VALUES, "90", stream, BitsStored=stored)
    (picture,) = read_frames(data, [None], ReadSettings(window="full", bits=16))
    np.testing.assert_array_equal(picture.pixels, scaled(VALUES.astype(float), -1000, 3071, 65535))


def test_a_signed_stream_keeps_its_sign():
    stream = imagecodecs.jpeg2k_encode(
        VALUES, level=0, reversible=True, codecformat="j2k", bitspersample=13
    )
    data = compressed(VALUES, "90", stream)
    (picture,) = read_frames(data, [None], ReadSettings(window="full", bits=16))
    np.testing.assert_array_equal(picture.pixels, scaled(VALUES.astype(float), -1000, 3071, 65535))
