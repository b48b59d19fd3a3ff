"""What could crash, in a process of its own: imports, the GPU, decoders, a store.

python -m medstrata.cli.doctor_child [STORE]

It says on stdout, as a line of JSON each, which step it begins and what came of it. Legend: H W
height and width.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError, one_line

_LIBRARIES = (
    *("torch", "torchvision", "timm", "accelerate", "safetensors", "numpy", "cv2", "PIL.Image"),
    *("pyarrow", "pandas", "sklearn", "matplotlib"),
)
# Format, how Pillow is to write it, and how far levels may be off.
_PHOTOGRAPHS: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("PNG", "PNG", {}, 0),
    ("JPEG", "JPEG", {"quality": 95}, 8),
    ("TIFF", "TIFF", {"compression": "tiff_lzw"}, 0),
    ("WebP", "WebP", {"lossless": True}, 0),
    ("JPEG 2000", "JPEG2000", {"irreversible": False}, 0),
)
_CHECKED_ROWS = 64  # images of a store whose pixels are compared


def main() -> None:
    """Do the steps; one that fails, in whatever way a library may, does not end the next ones."""
    for step, work in _steps(sys.argv[1:]):
        _say(step=step)
        try:
            _say(step=step, facts=work())
        except MedstrataError as error:
            _say(step=step, error=str(error))
        except BaseException as error:  # noqa: BLE001  (libraries even leave the program)
            _say(step=step, error=one_line(error, named=True, limit=400))


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _steps(stores: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name in _LIBRARIES:
        yield f"import {name}", partial(_import, name)
    yield "device", _device
    for name, written_as, options, slack in _PHOTOGRAPHS:
        yield f"decode {name}", partial(_photograph, name, written_as, options, slack)
    if find_spec("pydicom") and find_spec("imagecodecs"):
        yield "decode DICOM", _dicom
    for store in stores:
        yield "store", partial(_store, store)


def _import(name: str) -> None:
    import_module(name)


def _device() -> dict[str, Any]:
    """What PyTorch sees; `failure` is why a small product on the GPU goes wrong, or its words."""
    import torch

    from medstrata.runtime.devices import has_native_bf16

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.get_device_properties(number) for number in range(seen)]
    failure = ""
    try:
        if torch.version.cuda or torch.version.hip:
            torch.ones(64, 64, device="cuda").matmul(torch.ones(64, 64, device="cuda")).sum().item()
    except (RuntimeError, AssertionError) as error:
        failure = str(error).partition("\n")[0]
    return {
        "cuda": torch.version.cuda or torch.version.hip,
        "threads": torch.get_num_threads(),
        "gpus": [f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus],
        "failure": failure,
        "native_bf16": has_native_bf16(),
    }


def _levels(bits: int) -> Any:
    import numpy as np

    levels = np.linspace(0, 2**bits - 1, 24 * 16).reshape(16, 24)
    return levels.astype(np.uint8 if bits == 8 else np.uint16)


def _photograph(name: str, written_as: str, options: dict[str, Any], slack: int) -> None:
    from PIL import Image

    from medstrata.data.formats.raster import read_photographs
    from medstrata.data.formats.read_settings import ReadSettings

    for bits in (8, 16) if name == "PNG" else (8,):
        levels, stream = _levels(bits), io.BytesIO()
        Image.fromarray(levels).save(stream, written_as, **options)
        reading = ReadSettings(window="full", bits=bits)
        (image,) = read_photographs(stream.getvalue(), name, [None], reading, None)
        _compare(image.pixels, levels, slack)


def _dicom() -> None:
    """JPEG-LS and RLE, which two libraries decode."""
    import imagecodecs
    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless
    from pydicom.uid import SecondaryCaptureImageStorage as Capture

    from medstrata.data.formats.dicom.read import read_frames
    from medstrata.data.formats.read_settings import ReadSettings

    levels = _levels(16)
    for syntax in (RLELossless, JPEGLSLossless):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = Capture, "1.2.3.4"
        dataset.set_pixel_data(levels, "MONOCHROME2", 16)
        if syntax == RLELossless:
            dataset.compress(RLELossless)
        else:
            dataset.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(levels))])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
        stream = io.BytesIO()
        dcmwrite(stream, dataset, enforce_file_format=True)
        (image,) = read_frames(stream.getvalue(), [None], ReadSettings(window="full", bits=16))
        _compare(image.pixels, levels, 0)


def _compare(got: Any, wanted: Any, slack: int) -> None:
    grey = got[..., 0] if got.ndim == 3 else got
    if grey.shape != wanted.shape:
        raise ValueError(f"decoded to {grey.shape} in place of {wanted.shape}")
    if (worst := abs(grey.astype(int) - wanted.astype(int)).max()) > slack:
        raise ValueError(f"decoded {worst} levels off")


def _store(location: str) -> dict[str, Any]:
    """What a store is, and what in it is not as its manifest says; none over the network."""
    import numpy as np

    from medstrata.data.audit.pixels import changed_images
    from medstrata.data.prepare.manifest import store_digest
    from medstrata.data.store.open import is_address, open_store

    if is_address(location):
        raise MedstrataError(f"{location} is not looked at: doctor makes no network call")
    store = open_store(location)
    header = read_json(store.path / "store.json")
    faults = []
    if store_digest(header, store.label_columns, store.manifest) != store.digest:
        faults.append("the manifest is not the one that was written: its digest differs")
    rows = np.unique(np.linspace(0, len(store) - 1, _CHECKED_ROWS).astype(np.int64))
    if differing := changed_images(store, rows):
        words = f"{len(differing)} of {len(rows)} images are not what was written, such as "
        faults.append(words + str(differing[0]))
    words = f"{location}: {len(store)} images of {store.size} px, {store.digest[:8]}"
    return {"words": f"{words}, {len(rows)} of them compared", "faults": faults}


if __name__ == "__main__":
    main()
