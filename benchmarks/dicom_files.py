"""DICOM files of the benchmarks: one grey 16-bit image each, in the usual transfer syntaxes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Transfer syntaxes of the standard, PS3.6 table A-1, and what GDCM calls those it compresses to.
_PLAIN = "1.2.840.10008.1.2.1"
COMPRESSIONS = {
    "uncompressed": _PLAIN,
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG lossless": "1.2.840.10008.1.2.4.70",
}
_BY_GDCM = {
    COMPRESSIONS["RLE"]: "RLELossless",
    COMPRESSIONS["JPEG 2000"]: "JPEG2000Lossless",
    COMPRESSIONS["JPEG lossless"]: "JPEGLosslessProcess14_1",
}


def write_dicom(syntax: str) -> Callable[[Path, NDArray[np.uint16]], None]:
    """A writer of files in a transfer syntax; takes a path without suffix and pixels (H, W)."""

    def write(stem: Path, pixels: NDArray[np.uint16]) -> None:
        file = stem.with_suffix(".dcm")
        _data_set(pixels).save_as(file, enforce_file_format=True)
        if syntax in _BY_GDCM:
            _compress(file, _BY_GDCM[syntax])

    return write


def _data_set(pixels: NDArray[np.uint16]) -> "Dataset":
    """A radiograph of 12 bits with a window, as an archive would send it."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = _PLAIN
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


def _compress(file: Path, syntax: str) -> None:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(file))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(file))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
