"""Grey levels of DICOM files built here, against formulae and tables worked by hand."""

import numpy as np
import pytest
from pydicom.pixels import apply_windowing
from pydicom.uid import ExplicitVRBigEndian

from support.dicom_files import NUMBERS, item, make, read, refusal, scaled

RAMP = np.arange(-2000, 2000, dtype=np.int16).reshape(50, 80)


# --- modality transform ---


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
    ("function", "width"), [("LINEAR", 0.5), ("LINEAR_EXACT", 0), ("SIGMOID", -3)]
)
def test_windows_without_width_are_refused(function, width):
    dataset = make(RAMP, WindowCenter=0, WindowWidth=width, VOILUTFunction=function)
    assert f"window of width {width:g}" in refusal(dataset)


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


# --- look-up tables ---


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


# --- polarity, padding, bits ---


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


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("value", "limit"), [(-2000, None), (-2000, -1990), (-1990, -2000)])
@pytest.mark.parametrize("window", ["first", "full", "percentile"])
def test_padding_is_black_and_takes_no_part(kind, value, limit, window):
    values = np.random.default_rng(7).integers(-100, 900, (40, 50)).astype(np.int16)
    padded = values.copy()
    padded[:, :10] = -2000 if limit is None else np.arange(-2000, -1990)
    dataset = make(padded, PhotometricInterpretation=kind, PixelPaddingValue=value)
    dataset["PixelPaddingValue"].VR = "SS"
    if limit is not None:
        dataset.PixelPaddingRangeLimit = limit
        dataset["PixelPaddingRangeLimit"].VR = "SS"
    picture = read(dataset, window=window)
    without = read(make(values[:, 10:], PhotometricInterpretation=kind), window=window)
    assert not picture.pixels[:, :10].any()
    np.testing.assert_array_equal(picture.pixels[:, 10:], without.pixels)


def test_padding_written_as_unsigned_in_a_signed_image():
    values = np.where(RAMP < 0, -2000, RAMP).astype(np.int16)
    dataset = make(values, PixelPaddingValue=65536 - 2000, WindowCenter=0, WindowWidth=4000)
    dataset["PixelPaddingValue"].VR = "US"
    assert not read(dataset).pixels[values == -2000].any()
    assert "padding -2000 made black" in read(dataset).notes


def test_wholly_padded_image_is_read_without_it():
    values = np.full((9, 9), 1000, np.int32)
    values[0, 0] = 1000 + 2**20  # too wide for a table
    dataset = make(values, PixelPaddingValue=0, PixelPaddingRangeLimit=2**30)
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        dataset[name].VR = "SL"
    assert read(dataset).pixels[0, 0] == 255
    assert read(dataset).pixels.sum() == 255


@pytest.mark.parametrize("kind", ["u", "i"])
@pytest.mark.parametrize("high", [11, 13])
def test_rubbish_above_and_below_the_stored_bits(kind, high):
    values = NUMBERS.astype(np.int32) - (2048 if kind == "i" else 0)
    rubbish = np.random.default_rng(8).integers(0, 2**16, values.shape)
    below = high - 11
    mask = ((1 << 12) - 1) << below
    stored = ((values << below) & mask) | (rubbish & ~mask & 0xFFFF)
    dataset = make(stored.astype(np.uint16), BitsStored=12, HighBit=high)
    dataset.PixelRepresentation = int(kind == "i")
    low, top = np.percentile(values, (0.5, 99.5))
    np.testing.assert_array_equal(read(dataset).pixels, scaled(values.astype(float), low, top))


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
@pytest.mark.parametrize("spread", [100, 2**30])
def test_32_bits(dtype, spread):
    lowest = 3_000_000_000 if dtype == np.uint32 else -2_000_000_000
    values = (lowest + np.arange(1200).reshape(30, 40) * (spread // 1200 + 1)).astype(dtype)
    low, high = np.percentile(values.astype(float), (0.5, 99.5))
    picture = read(make(values))
    assert np.abs(picture.pixels - scaled(values.astype(float), low, high)).max() <= 1


def test_float_pixels():
    values = np.linspace(-1, 3, 1200, dtype=np.float32).reshape(30, 40)
    dataset = make(values, RescaleSlope=2, RescaleIntercept=1, WindowCenter=1, WindowWidth=4)
    dataset.VOILUTFunction = "LINEAR_EXACT"
    dataset.FloatPixelData = dataset.PixelData
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    picture = read(dataset)
    np.testing.assert_array_equal(picture.pixels, scaled(values * 2.0 + 1, -1, 3))
    values[3, 3] = np.nan
    dataset.FloatPixelData = values.tobytes()
    assert refusal(dataset) == "non-finite pixels"


@pytest.mark.parametrize("identity", [False, True])
def test_8_bit_without_window_is_shown_as_stored(identity):
    values = np.random.default_rng(9).integers(40, 90, (30, 40), dtype=np.uint8)
    dataset = make(values)
    if identity:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    np.testing.assert_array_equal(read(dataset).pixels, values)
    np.testing.assert_array_equal(read(dataset, bits=16).pixels, values * np.uint16(257))
    dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 0  # measurements, as of PET
    assert read(dataset).pixels.max() == 255


# --- colour ---


def test_colours():
    colours = np.random.default_rng(10).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read(make(colours)).pixels, colours)
    planar = make(colours, PlanarConfiguration=1)
    planar.PixelData = np.moveaxis(colours, -1, 0).tobytes()
    np.testing.assert_array_equal(read(planar).pixels, colours)
    deep = make(colours.astype(np.uint16) * 256 + 77)
    picture = read(deep)
    np.testing.assert_array_equal(picture.pixels, colours)
    assert picture.notes == ["16-bit colour to 8 bits: high byte kept"]
    np.testing.assert_array_equal(read(deep, bits=16).pixels, colours * np.uint16(257))


def test_ybr_by_hand():
    """C.7.6.3.1.2: white, black, red, green and blue of YBR_FULL."""
    ybr = [(255, 128, 128), (0, 128, 128), (76, 85, 255), (150, 44, 21), (29, 255, 107)]
    rgb = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    dataset = make(np.array([ybr], np.uint8), PhotometricInterpretation="YBR_FULL")
    picture = read(dataset)
    assert np.abs(picture.pixels[0].astype(int) - rgb).max() <= 1
    assert picture.notes == ["YBR_FULL to RGB"]


@pytest.mark.parametrize("entry_bits", [8, 16])
def test_palette(entry_bits):
    places = np.array([[0, 5, 6, 7, 8, 255]], np.uint8)
    dataset = make(places, PhotometricInterpretation="PALETTE COLOR")
    tables = {"Red": [1, 2, 3, 4], "Green": [50, 60, 70, 80], "Blue": [255, 200, 100, 0]}
    for colour, entries in tables.items():
        name = f"{colour}PaletteColorLookupTable"
        setattr(dataset, f"{name}Descriptor", [4, 5, entry_bits])
        dataset[f"{name}Descriptor"].VR = "US"
        wide = np.array(entries, "<u2") * 256 + 9 if entry_bits == 16 else np.array(entries, "u1")
        setattr(dataset, f"{name}Data", wide.tobytes())
    expected = [(1, 50, 255), (1, 50, 255), (2, 60, 200), (3, 70, 100), (4, 80, 0), (4, 80, 0)]
    assert read(dataset).pixels[0].tolist() == [list(colour) for colour in expected]
