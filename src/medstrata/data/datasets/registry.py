"""The data sets that are known by name, and those of other packages by import path."""

from difflib import get_close_matches

from medstrata.data.datasets.aptos import APTOS_2019
from medstrata.data.datasets.breakhis import BREAKHIS
from medstrata.data.datasets.chexpert import CHEXPERT
from medstrata.data.datasets.dataset import Dataset
from medstrata.data.datasets.eyepacs import EYEPACS
from medstrata.data.datasets.idc import IDC
from medstrata.data.datasets.imagefolder import IMAGEFOLDER
from medstrata.data.datasets.medmnist import MEDMNIST
from medstrata.data.datasets.mimic_cxr_jpg import MIMIC_CXR_JPG
from medstrata.data.datasets.nih_chestxray14 import NIH_CHESTXRAY14
from medstrata.data.datasets.npz import NPZ
from medstrata.data.datasets.pcam import PCAM
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.import_path import load_object

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *(NIH_CHESTXRAY14, CHEXPERT, MIMIC_CXR_JPG, IDC, EYEPACS, APTOS_2019, BREAKHIS, PCAM),
        *(*MEDMNIST, IMAGEFOLDER, NPZ),
    )
}


def find_dataset(name: str) -> Dataset:
    """A data set by its name, or one of another package by its import path.

    Args:
        name: As in `DATASETS`, or `package.module:NAME` of a `Dataset`.

    Raises:
        MedstrataError: none is called so (the line has the nearest name and all of them), or what
            the path names cannot be imported or is no `Dataset`.
    """
    if name in DATASETS:
        return DATASETS[name]
    if ":" in name:
        given = load_object(name, "data set")
        if not isinstance(given, Dataset):
            raise MedstrataError(
                f"data set {name} is a {type(given).__name__}: it must be a "
                "medstrata.data.datasets.dataset.Dataset"
            )
        return given
    word = name.lower()
    parts = [other for other in DATASETS if word and word in other]
    near = parts or get_close_matches(word, DATASETS, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise MedstrataError(f"no data set {name!r}{guess}; there are {', '.join(DATASETS)}")
