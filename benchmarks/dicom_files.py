"""DICOM files of the benchmarks: one grey 16-bit image each, in the usual transfer syntaxes."""

from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

COMPRESSIONS = {
    "uncompressed": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG lossless": JPEGLosslessSV1,
}
_BY_GDCM = {
    RLELossless: gdcm.TransferSyntax.RLELossless,
    JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}


def write_dicom(syntax: str) -> Callable[[Path, NDArray[np.uint16]], None]:
    """A writer of files in a transfer syntax; takes a path without suffix and pixels (H, W)."""

    def write(stem: Path, pixels: NDArray[np.uint16]) -> None:
        file = stem.with_suffix(".dcm")
        _data_set(pixels).save_as(file, enforce_file_format=True)
        if syntax in _BY_GDCM:
            _compress(file, _BY_GDCM[syntax])

    return write


def _data_set(pixels: NDArray[np.uint16]) -> Dataset:
    """A radiograph of 12 bits with a window, as an archive would send it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientID = "DX", "made up"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.RescaleIntercept, data.RescaleSlope = "0", "1"
    data.WindowCenter, data.WindowWidth = "2048", "3600"
    data.PixelData = pixels.tobytes()
    return data


def _compress(file: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(file))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
