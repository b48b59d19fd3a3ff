"""The pictures of docs/guide/data.md, from made-up images that no patient stood for.

python scripts/data_pictures.py docs/results/pictures
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read import read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.resize import fit_square
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.synthetic.chest import draw_image

IMAGES, SIZE = 24, 192


def write_dicom(path: Path, stored: NDArray[np.int64], **attributes: object) -> None:
    """A minimal DICOM file of 16 allocated bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.BitsAllocated = 1, 16
    dataset.PixelRepresentation = int(stored.min() < 0)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = stored.astype("<i2" if stored.min() < 0 else "<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def write_sites(folder: Path) -> Path:
    """Four hospitals that store the same kind of image in four ways, the last one wrongly."""
    rows = []
    for number in range(4 * IMAGES):
        site, grey = "ABCD"[number % 4], chest(number)
        name = f"{site}{number:03d}" + (".dcm" if site in "AB" else ".png")
        if site == "A":
            values = np.rint(600 + 2400 * grey).astype(np.int64)
            window = {"WindowCenter": 1800, "WindowWidth": 2400}
            write_dicom(folder / name, values, BitsStored=12, Modality="CR", **window)
        elif site == "B":
            values = np.rint(15000 - 12000 * grey).astype(np.int64)
            values[:, :12] = 0
            kind = {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}
            write_dicom(folder / name, values, BitsStored=14, Modality="CR", **kind)
        elif site == "C":
            Image.fromarray(np.rint(4000 * grey).astype(np.uint16)).save(folder / name)
        else:
            Image.fromarray(np.rint(255 - 255 * grey).astype(np.uint8)).save(folder / name)
        rows.append({"file": name, "hospital": f"hospital {site}", "finding": number // 4 % 2})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def chest(number: int) -> NDArray[np.float64]:
    return draw_image(number % 6, number, 0, size=SIZE) / 255.0


def phantom() -> NDArray[np.int64]:
    """A slice of a made-up chest in Hounsfield units: air, fat, muscle, lungs, vessels, bone."""
    values = np.full((256, 320), -1000, dtype=np.int32)
    for center, axes, unit in (
        ((160, 132), (140, 100), -90),
        ((160, 132), (132, 92), 50),
        ((98, 128), (50, 66), -830),
        ((222, 128), (50, 66), -830),
        ((172, 120), (26, 34), 110),
        ((160, 206), (17, 15), 420),
        ((160, 184), (8, 6), 20),
    ):
        cv2.ellipse(values, center, axes, 0, 0, 360, unit, -1)
    for angle in range(0, 360, 36):
        x, y = 98 + 34 * np.cos(np.radians(angle)), 128 + 46 * np.sin(np.radians(angle))
        cv2.circle(values, (round(x), round(y)), 3, -300, -1)
    noise = np.random.default_rng(0).normal(0, 12, values.shape)
    return np.rint(cv2.GaussianBlur(values + noise, (0, 0), 1.0)).astype(np.int64)


def draw_windows(folder: Path, out: Path) -> None:
    """One file through four windows."""
    path = folder / "slice.dcm"
    kind = {"Modality": "CT", "SOPClassUID": CTImageStorage, "RescaleIntercept": -1024}
    write_dicom(path, phantom() + 1024, BitsStored=12, RescaleSlope=1, **kind)
    windows = ("percentile", "soft-tissue", "lung", "bone")
    tiles = []
    for name in windows:
        (image,) = read_images(path, [None], ReadSettings(window=name))
        assert isinstance(image, DecodedImage)
        tiles.append(captioned(image.pixels, name))
    Image.fromarray(np.concatenate(tiles, axis=1)).save(out, optimize=True)


def draw_fundus(out: Path) -> None:
    """A made-up retina before, padded, and cut out."""
    photograph = np.zeros((240, 360, 3), dtype=np.uint8)
    cv2.circle(photograph, (190, 128), 122, (150, 70, 40), -1)
    cv2.circle(photograph, (240, 120), 16, (240, 200, 140), -1)
    for angle in range(0, 360, 45):
        end = (
            round(240 + 150 * np.cos(np.radians(angle))),
            round(120 + 90 * np.sin(np.radians(angle))),
        )
        cv2.line(photograph, (240, 120), end, (110, 30, 25), 3)
    lit = np.zeros(photograph.shape[:2], dtype=np.uint8)
    cv2.circle(lit, (190, 128), 122, 255, -1)
    photograph[lit == 0] = 0
    tiles = [captioned(photograph, "the file")]
    tiles += [
        captioned(fit_square(photograph, 240, 3, fit)[0], f"--fit {fit}")
        for fit in ("pad", "crop", "fundus")
    ]
    Image.fromarray(np.concatenate(tiles, axis=1)).save(out, optimize=True)


def captioned(pixels: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    framed = np.pad(colour, ((26, 4), (4, 4), (0, 0)), constant_values=255)
    cv2.putText(framed, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/guide/data.md.")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "hospitals"
        folder.mkdir()
        store = prepare(
            folder, Path(temporary) / "store", PrepareSettings(labels=write_sites(folder), size=128)
        )
        sheet = Image.open(store.path / "preview.png").convert("L")
        sheet.quantize(64).save(out / "preview.png", optimize=True)
        draw_windows(Path(temporary), out / "windows.png")
    draw_fundus(out / "fundus.png")


if __name__ == "__main__":
    main()
