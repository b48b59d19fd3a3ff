"""A child of doctor's: decodes a small image of each format, made in memory.

Legend: H W height and width.
"""

import io
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medstrata.cli.doctor.child import report
from medstrata.data.formats.pillow import read_photographs
from medstrata.data.formats.read_settings import ReadSettings

_LEVELS = np.linspace(0, 255, 24 * 16).astype(np.uint8).reshape(16, 24)
_DEEP = np.linspace(0, 65535, 24 * 16).astype(np.uint16).reshape(16, 24)
# Format, how Pillow is to write it, and how far levels may be off.
_PHOTOGRAPHS: dict[str, tuple[str, dict[str, object], int]] = {
    "JPEG": ("JPEG", {"quality": 95}, 8),
    "TIFF": ("TIFF", {"compression": "tiff_lzw"}, 0),
    "WebP": ("WebP", {"lossless": True}, 0),
    "JPEG 2000": ("JPEG2000", {"irreversible": False}, 0),
}


def main() -> None:
    """Decode all of them."""
    report("PNG, 8 bits", lambda: _photograph("PNG", "PNG", {}, _LEVELS, 0))
    report("PNG, 16 bits", lambda: _photograph("PNG", "PNG", {}, _DEEP, 0))
    for name, (written_as, options, slack) in _PHOTOGRAPHS.items():
        report(name, partial(_photograph, name, written_as, options, _LEVELS, slack))
    if find_spec("pydicom") and find_spec("imagecodecs"):
        report("DICOM, RLE", lambda: _dicom(_rle))
        report("DICOM, JPEG-LS", lambda: _dicom(_jpeg_ls))


def _photograph(
    name: str, written_as: str, options: dict[str, object], levels: NDArray[np.generic], slack: int
) -> None:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, written_as, **options)
    reading = ReadSettings(window="full", bits=8 if levels.itemsize == 1 else 16)
    (picture,) = read_photographs(stream.getvalue(), name, [None], reading, None)
    _compare(picture.pixels, levels, slack)


def _compare(got: NDArray[np.generic], wanted: NDArray[np.generic], slack: int) -> None:
    grey = got[..., 0] if got.ndim == 3 else got
    if grey.shape != wanted.shape:
        raise ValueError(f"decoded to {grey.shape} in place of {wanted.shape}")
    worst = int(np.abs(grey.astype(np.int64) - wanted.astype(np.int64)).max())
    if worst > slack:
        raise ValueError(f"decoded {worst} levels off")


def _dicom(compress: Callable[..., None]) -> None:
    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    from medstrata.data.formats.dicom.read import read_frames

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    dataset.Rows, dataset.Columns = _DEEP.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.set_pixel_data(_DEEP, "MONOCHROME2", 16)
    compress(dataset)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    (picture,) = read_frames(stream.getvalue(), [None], ReadSettings(window="full", bits=16))
    _compare(picture.pixels, _DEEP, 0)


def _rle(dataset: object) -> None:
    from pydicom import Dataset
    from pydicom.uid import RLELossless

    assert isinstance(dataset, Dataset)
    dataset.compress(RLELossless)


def _jpeg_ls(dataset: object) -> None:
    import imagecodecs
    from pydicom import Dataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    assert isinstance(dataset, Dataset)
    dataset.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(_DEEP))])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless


if __name__ == "__main__":
    main()
