"""Grey levels of DICOM files built here, against formulae and tables worked by hand."""

import numpy as np
import pytest

from support.dicom_files import NUMBERS, RAMP, make, read, refusal, scaled

# --- modality transform ---


# --- look-up tables ---


# --- polarity, padding, bits ---


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
    background = read(dataset)
    expected = picture.pixels.copy()
    expected[3, 3] = 0
    np.testing.assert_array_equal(background.pixels, expected)
    assert "1 pixels that are no number taken for background" in background.conversion
    values[3, 3] = np.inf
    dataset.FloatPixelData = values.tobytes()
    assert refusal(dataset) == "infinite pixels"


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
