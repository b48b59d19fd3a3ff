"""Chest X-rays as DICOM: windows, polarity, and a preview to prove it."""

# --8<-- [start:data]
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from medstrata.data.synthetic.chest import make_images

make_images(Path("made-up"), images=48, size=64)


def write_dicom(image: np.ndarray, path: Path, patient: str, *, inverted: bool) -> None:
    """A 12-bit radiograph as a hospital would store it; two makers disagree about white."""
    levels = image.astype(np.uint16) * 16
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = ComputedRadiographyImageStorage
    file.SOPInstanceUID = generate_uid()
    file.PatientID = patient
    file.Modality = "CR"
    file.Manufacturer = "AGFA" if inverted else "FUJIFILM"
    file.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    file.Rows, file.Columns = levels.shape
    file.SamplesPerPixel, file.BitsAllocated, file.BitsStored, file.HighBit = 1, 16, 12, 11
    file.PixelRepresentation = 0
    file.WindowCenter, file.WindowWidth = 2048, 4096
    file.PixelData = (4095 - levels if inverted else levels).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


for number, png in enumerate(sorted(Path("made-up/images").rglob("*.png"))):
    grey = cv2.imread(str(png), cv2.IMREAD_GRAYSCALE)
    name = f"{png.parent.name}-{png.stem}.dcm"
    write_dicom(grey, Path("archive") / name, png.parent.name, inverted=number % 2 == 1)
# --8<-- [end:data]

# --8<-- [start:prepare]
import medstrata as ms

store = ms.prepare("archive", "chest.store", ms.PrepareSettings(size=64))
means = store.read(np.arange(len(store))).mean(axis=(1, 2, 3))
print(f"mean grey level: maker A {means[::2].mean():.0f}, maker B {means[1::2].mean():.0f}")
# --8<-- [end:prepare]
assert abs(means[::2].mean() - means[1::2].mean()) < 12

# --8<-- [start:identity]
import pandas as pd

manifest = pd.read_parquet("chest.store/manifest.parquet")
print(manifest[["dicom.Modality", "dicom.Manufacturer", "patient_id"]].head())
# --8<-- [end:identity]
