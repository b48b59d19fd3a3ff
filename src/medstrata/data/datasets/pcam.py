"""PatchCamelyon: lymph node patches with and without metastasis, in HDF5 files."""

from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.columns import find_table, read_columns, text_table
from medstrata.data.datasets.dataset import DamagedCopy, Dataset
from medstrata.runtime.optional import import_optional

_PARTS = {"train": "train", "valid": "val", "test": "test"}


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    table = pd.concat([_part(root, part) for part in _PARTS], ignore_index=True)
    return text_table(table)


def _part(root: Path, part: str) -> pd.DataFrame:
    images = find_table(root, (_name(part, "x.h5"),))
    answers = find_table(root, (_name(part, "y.h5"),))
    count = len(_read(images, "x", pixels=True))
    labels = _read(answers, "y").reshape(-1)
    if len(labels) != count:
        raise DamagedCopy(f"{answers} has {len(labels)} labels for {count} images")
    if not np.isin(labels, (0, 1)).all():
        raise DamagedCopy(f"{answers} has labels beside 0 and 1")
    columns = {
        "file": images.name,
        "frame": np.arange(count, dtype=np.int64),
        "array": "x",
        "tumour": pd.Series(labels.astype(np.int64)).astype("string"),
        "split.official": _PARTS[part],
    }
    slides = _slides(root / _name(part, "meta.csv"), count)
    return pd.DataFrame(columns | slides)


def _name(part: str, what: str) -> str:
    return f"camelyonpatch_level_2_split_{part}_{what}"


def _read(path: Path, array: str, *, pixels: bool = False) -> np.ndarray:
    """An array of a file; of pixels, only as many nothings as there are images."""
    h5py = import_optional("h5py", f"{path.name} is HDF5, which", "hdf5")
    try:
        with h5py.File(path, "r") as file:
            return np.empty((len(file[array]), 0)) if pixels else np.asarray(file[array])
    except (OSError, KeyError) as error:
        raise DamagedCopy(
            f"{path} is no sound HDF5 file with an array {array!r} (packed still?)"
        ) from error


def _slides(path: Path, count: int) -> dict[str, pd.Series]:
    if not path.is_file():
        return {}
    rows = read_columns(path, ("wsi",))
    if len(rows) != count:
        raise DamagedCopy(f"{path} has {len(rows)} rows for {count} images")
    return {"patient_id": rows["wsi"]}


PCAM = Dataset(
    name="pcam",
    title="PatchCamelyon (PCam)",
    modality="histopathology, H&E, lymph nodes, patches of 96 px at 10x",
    images=327_680,
    labels={"tumour": ("0", "1")},
    task="tumour",
    splits=("official",),
    split_sizes={"official": {"train": 262_144, "val": 32_768, "test": 32_768}},
    licence="CC0 1.0",
    citation=(
        "Veeling, Linmans, Winkens, Cohen, Welling: Rotation Equivariant CNNs for Digital "
        "Pathology, MICCAI 2018"
    ),
    url="https://zenodo.org/records/2546921",
    layout="""\
camelyonpatch_level_2_split_{train,valid,test}_x.h5       unpacked, array x
camelyonpatch_level_2_split_{train,valid,test}_y.h5       unpacked, array y
camelyonpatch_level_2_split_{train,valid,test}_meta.csv   slide of each patch, if you have them""",
    # Of the packed files, as torchvision's PCAM has them; the README of github.com/basveeling/pcam
    # has those of valid and test the other way round.
    checksums={
        _name("train", "x.h5.gz"): "md5:1571f514728f59376b705fc836ff4b63",
        _name("train", "y.h5.gz"): "md5:35c2d7259d906cfc8143347bb8e05be7",
        _name("valid", "x.h5.gz"): "md5:d5b63470df7cfa627aeec8b9dc0c066e",
        _name("valid", "y.h5.gz"): "md5:2b85f58b927af9964a4c15b8f7e8f179",
        _name("test", "x.h5.gz"): "md5:d8c2d60d490dbd479f8199bdfa0cf6ec",
        _name("test", "y.h5.gz"): "md5:60a7035772fbdb7f34eb86d4420cf66a",
    },
    note=(
        "The slide of a patch, from the meta files, stands for the patient, whose identity is not "
        "published. Positive patches have tumour in their middle 32 px. The HDF5 files need the "
        "optional dependency `medstrata[hdf5]`."
    ),
    index=index,
)
