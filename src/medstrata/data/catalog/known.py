"""The data sets that are known by name."""

from difflib import get_close_matches

from medstrata.data.catalog.aptos import APTOS_2019
from medstrata.data.catalog.breakhis import BREAKHIS
from medstrata.data.catalog.chexpert import CHEXPERT
from medstrata.data.catalog.dataset import Dataset
from medstrata.data.catalog.eyepacs import EYEPACS
from medstrata.data.catalog.idc import IDC
from medstrata.data.catalog.imagefolder import IMAGEFOLDER
from medstrata.data.catalog.medmnist import MEDMNIST
from medstrata.data.catalog.mimic_cxr_jpg import MIMIC_CXR_JPG
from medstrata.data.catalog.nih_chestxray14 import NIH_CHESTXRAY14
from medstrata.data.catalog.pcam import PCAM
from medstrata.errors import MedstrataError

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *(NIH_CHESTXRAY14, CHEXPERT, MIMIC_CXR_JPG, IDC, EYEPACS, APTOS_2019, BREAKHIS, PCAM),
        *(*MEDMNIST, IMAGEFOLDER),
    )
}


def find_dataset(name: str) -> Dataset:
    """A data set by its name.

    Raises:
        MedstrataError: none is called so; the line has the nearest name and all of them.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]}?)" if near else ""
    raise MedstrataError(f"no data set {name!r}{guess}; there are {', '.join(DATASETS)}")
