"""DICOM files built in memory."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medstrata.data.formats.dicom.read import read_frames
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError

RAMP = np.arange(-2000, 2000, dtype=np.int16).reshape(50, 80)


NUMBERS = np.random.default_rng(6).integers(0, 4096, (30, 40)).astype(np.uint16)


def make(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    """A grey (H, W), multi-frame grey (F, H, W) or colour (H, W, 3) image of all its bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    dataset.Modality = "OT"
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    frames = pixels.ndim == 3 and not colour
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    if frames:
        dataset.NumberOfFrames = len(pixels)
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = attributes.get("HighBit", dataset.BitsStored - 1)
    return dataset


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset, **options: Any) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True, **options)
    return stream.getvalue()


def reread(dataset: Dataset) -> Dataset:
    return dcmread(io.BytesIO(written(dataset)))


def read(dataset: Dataset, frame: int | None = None, **reading: Any) -> DecodedImage:
    (picture,) = read_frames(written(dataset), [frame], ReadSettings(**reading))
    return picture


def scaled(values: NDArray[Any], low: float, high: float, top: float = 255) -> NDArray[Any]:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * top)


def refusal(dataset: Dataset, frame: int | None = None, **reading: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read(dataset, frame, **reading)
    return str(caught.value)
