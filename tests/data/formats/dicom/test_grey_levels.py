"""Windows, tables and full ranges of DICOM, against the standard's formulas."""

import numpy as np
import pytest
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRBigEndian

from medstrata.data.formats.dicom.read import read_frames
from medstrata.data.formats.read_settings import ReadSettings
from support.dicom_files import NUMBERS, RAMP, item, make, read, refusal, scaled, written


def test_rescale_then_window():
    dataset = make(RAMP, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    picture = read(dataset)
    units = RAMP * 2.0 - 1024
    levels = [[linear(value, 40, 400) for value in row] for row in units]
    np.testing.assert_array_equal(picture.pixels, np.rint(np.array(levels) * 255))
    assert picture.notes == ["x 2 + -1024", "window 40/400"]


def linear(value, center, width):
    """C.11.2.1.2.1, word for word."""
    if value <= center - 0.5 - (width - 1) / 2:
        return 0
    if value > center - 0.5 + (width - 1) / 2:
        return 1
    return (value - (center - 0.5)) / (width - 1) + 0.5


def linear_exact(value, center, width):
    """C.11.2.1.3.2."""
    if value <= center - width / 2:
        return 0
    return 1 if value > center + width / 2 else (value - center) / width + 0.5


def sigmoid(value, center, width):
    """C.11.2.1.3.1."""
    return 1 / (1 + np.exp(-4 * (value - center) / width))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("width", [1, 2, 77.5, 1500])
@pytest.mark.parametrize(
    ("function", "formula"),
    [("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid), (None, linear)],
)
def test_window_functions(function, formula, width, bits):
    dataset = make(RAMP, WindowCenter=-37.5, WindowWidth=width)
    if function:
        dataset.VOILUTFunction = function
    levels = read(dataset, bits=bits).pixels
    with np.errstate(over="ignore"):
        shares = np.array([[formula(value, -37.5, width) for value in row] for row in RAMP])
    assert np.abs(levels - shares * (2**bits - 1)).max() < 0.5 + 1e-6
    with np.errstate(over="ignore"):
        theirs = apply_windowing(RAMP, dataset)  # within the range of the stored values
    theirs = (theirs + 2**15) / (2**16 - 1)
    np.testing.assert_allclose(levels / (2**bits - 1), theirs, atol=0.51 / (2**bits - 1))


def test_window_by_hand():
    dataset = make(np.array([[0, 29, 30, 79, 128, 129, 255]], np.int16))
    dataset.WindowCenter, dataset.WindowWidth = 80, 100  # from 30 to 129
    assert read(dataset).pixels.tolist() == [[0, 0, 0, 126, 252, 255, 255]]


@pytest.mark.parametrize(
    ("function", "center", "width"),
    [("LINEAR", 0, 0), ("LINEAR_EXACT", 0, 0), ("SIGMOID", 0, -3), ("LINEAR", float("nan"), 400)],
)
def test_a_window_that_is_none_is_passed_over(function, center, width):
    dataset = make(RAMP, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    picture = read(dataset)
    np.testing.assert_array_equal(picture.pixels, read(make(RAMP), window="percentile").pixels)
    assert "window of the file that is none passed over" in picture.notes
    dataset.WindowCenterWidthExplanation = "LUNG"
    assert "window" in refusal(dataset, window="LUNG")


def test_a_linear_window_narrower_than_one_is_of_fractions():
    values = np.arange(4000, dtype=np.uint16).reshape(50, 80)
    dataset = make(values, RescaleSlope=5e-5, RescaleIntercept=0, WindowCenter=0.1, WindowWidth=0.2)
    np.testing.assert_array_equal(read(dataset).pixels, scaled(values * 5e-5, 0, 0.2))


def test_a_window_beside_the_values_is_said():
    said = refusal(make(RAMP, WindowCenter=30000, WindowWidth=100))
    assert said.startswith("every pixel of it has one grey level by the window (window 30000/100)")


@pytest.mark.parametrize(
    ("declared", "held", "white"), [(12, 12, 4095), (16, 12, 4095), (16, 8, 255), (16, 16, 65535)]
)
def test_a_table_narrower_than_it_says_is_not_black(declared, held, white):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    entries = np.linspace(0, 2**held - 1, 4096).round().astype(np.uint16)
    table = item(LUTDescriptor=[4096, 0, declared], LUTData=entries.tobytes())
    table["LUTData"].VR = "OW"
    dataset = make(values, BitsStored=12, VOILUTSequence=[table])
    expected = np.rint(entries.reshape(64, 64) / white * 255)
    np.testing.assert_array_equal(read(dataset).pixels, expected)


def test_decimal_commas_and_missing_attributes_have_one_meaning():
    dataset = make(RAMP, WindowCenter=0, WindowWidth=100, RescaleSlope=0.5, RescaleIntercept=0)
    data = written(dataset)
    (expected,) = read_frames(data, [None], ReadSettings())
    (mended,) = read_frames(data.replace(b"0.5 ", b"0,5 "), [None], ReadSettings())
    np.testing.assert_array_equal(mended.pixels, expected.pixels)
    assert "RescaleSlope with a decimal comma" in mended.notes
    del dataset.PhotometricInterpretation, dataset.SamplesPerPixel
    picture = read(dataset)
    np.testing.assert_array_equal(picture.pixels, expected.pixels)
    assert "no photometric interpretation, taken for MONOCHROME2" in picture.notes


SEVERAL = {
    "WindowCenter": [40, -600],
    "WindowWidth": [400, 1500],
    "WindowCenterWidthExplanation": ["ABDOMEN", "Thorax Air"],
}


def test_the_first_of_several_windows_or_one_by_name():
    dataset = make(RAMP, **SEVERAL)
    np.testing.assert_array_equal(read(dataset).pixels, scaled(RAMP, -160, 239))
    named = read(dataset, window="thorax air")
    np.testing.assert_array_equal(named.pixels, scaled(RAMP, -1350, 149))
    assert refusal(dataset, window="spleen") == "no window 'spleen' in it"
    assert refusal(make(RAMP), window="abdomen") == "no window 'abdomen' in it"


def test_presets_are_for_ct_alone():
    dataset = make(RAMP, Modality="CT", RescaleSlope=1, RescaleIntercept=100)
    picture = read(dataset, window="lung")
    np.testing.assert_array_equal(picture.pixels, scaled(RAMP + 100.0, -1350, 150))
    dataset.Modality = "MR"
    assert refusal(dataset, window="lung") == "window lung is in Hounsfield units, this is not CT"


def test_window_range_comes_before_that_of_the_file():
    dataset = make(RAMP, WindowCenter=0, WindowWidth=9, RescaleSlope=0.5, RescaleIntercept=0)
    picture = read(dataset, window="-100/300")
    np.testing.assert_array_equal(picture.pixels, scaled(RAMP / 2, -250, 50))


def test_percentiles_and_full():
    low, high = np.percentile(NUMBERS, (0.5, 99.5))
    for dataset, wanted in ((make(NUMBERS), "first"), (make(NUMBERS, **SEVERAL), "percentile")):
        picture = read(dataset, window=wanted)
        np.testing.assert_array_equal(picture.pixels, scaled(NUMBERS.astype(float), low, high))
    full = read(make(NUMBERS, **SEVERAL), window="full", bits=16)
    ends = NUMBERS.min(), NUMBERS.max()
    np.testing.assert_array_equal(full.pixels, scaled(NUMBERS.astype(float), *ends, 65535))
    assert full.pixels.dtype == np.uint16


def test_voi_table():
    table = item(LUTDescriptor=[5, 10, 12], LUTData=[0, 100, 1000, 4000, 4095])
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    values = np.array([[0, 10, 11, 12, 13, 14, 500]], np.uint16)
    dataset = make(values, VOILUTSequence=[table], WindowCenter=2, WindowWidth=3)
    picture = read(dataset)
    expected = np.rint(np.array([0, 0, 100, 1000, 4000, 4095, 4095]) / 4095 * 255)
    np.testing.assert_array_equal(picture.pixels[0], expected)
    assert picture.notes == ["table of the file"]
    windowed = read(dataset, window="2/4")  # a given window comes first
    assert windowed.pixels[0, 0] == 0
    assert windowed.pixels[0, 1] == 255


@pytest.mark.parametrize("big_endian", [False, True])
def test_modality_table_before_the_window(big_endian):
    entries = np.array([5, 50, 500, 5000], ">u2" if big_endian else "<u2")
    table = item(LUTDescriptor=[4, 0, 16], ModalityLUTType="US", LUTData=entries.tobytes())
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    dtype = ">u2" if big_endian else "<u2"
    dataset = make(np.array([[0, 1, 2, 3, 9]], dtype), ModalityLUTSequence=[table])
    dataset.WindowCenter, dataset.WindowWidth = 250.5, 501  # 0 to 500
    if big_endian:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    picture = read(dataset)
    assert picture.pixels.tolist() == [[3, 26, 255, 255, 255]]  # 5/500, 50/500 of 255
    assert picture.notes[0] == "modality table applied"


def test_tables_that_lie_are_refused():
    table = item(LUTDescriptor=[50, 0, 16], LUTData=[1, 2, 3])
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    dataset = make(NUMBERS, VOILUTSequence=[table])
    assert "shorter" in refusal(dataset)
    table.LUTDescriptor = [3, 0, 99]
    assert "99 bits" in refusal(dataset)


def test_monochrome1_is_inverted_after_the_window():
    plain = make(RAMP, WindowCenter=10, WindowWidth=101)
    inverted = make(RAMP, WindowCenter=10, WindowWidth=101, PhotometricInterpretation="MONOCHROME1")
    shares = np.clip((RAMP - -40.5) / 100, 0, 1)
    np.testing.assert_array_equal(read(plain).pixels, np.rint(shares * 255))
    np.testing.assert_array_equal(read(inverted).pixels, np.rint((1 - shares) * 255))
    assert read(inverted).notes[-1] == "MONOCHROME1 inverted"
    eight = make(np.arange(200, dtype=np.uint8).reshape(10, 20))
    eight.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(read(eight).pixels.ravel(), 255 - np.arange(200))
