"""MedMNIST v2 and MedMNIST+: twelve sets of small images, each in one npz file a size."""

import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.columns import require_folder, text_table
from medstrata.data.datasets.dataset import Dataset
from medstrata.data.formats.arrays import array_length
from medstrata.data.formats.refusals import Refused
from medstrata.data.store.store import SPLITS
from medstrata.runtime.errors import MedstrataError

_URL = "https://zenodo.org/records/10519652"
_SIZES = ("", "_64", "_128", "_224")  # of 28 px, and as the others' files end


@dataclass(frozen=True, kw_only=True)
class _Set:
    """Facts of one of the sets.

    Attributes:
        title: Its name.
        modality: What kind of images.
        counts: Images that train, validate and test.
        classes: Names of the classes; of findings, the label columns.
        md5: Of the files of 28, 64, 128 and 224 px.
        licence: Terms of use.
        findings: Whether an image has several labels, each 0 or 1.
        ordinal: Whether the classes ascend.
    """

    title: str
    modality: str
    counts: tuple[int, int, int]
    classes: tuple[str, ...]
    md5: tuple[str, str, str, str]
    licence: str = "CC BY 4.0"
    findings: bool = False
    ordinal: bool = False


_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)

# As medmnist 3.0.2 has them.
_SETS = (
    _Set(
        title="PathMNIST",
        modality="histopathology, H&E, colon",
        counts=(89_996, 10_004, 7_180),
        classes=(
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        md5=(
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
    ),
    _Set(
        title="ChestMNIST",
        modality="chest radiographs, frontal",
        counts=(78_468, 11_219, 22_433),
        classes=(
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        md5=(
            "02c8a6516a18b556561a56cbdd36c4a8",
            "9de6cd0b934ebb5b7426cfba5efbae16",
            "db107e5590b27930b62dbaf558aebee3",
            "45bd33e6f06c3e8cdb481c74a89152aa",
        ),
        findings=True,
    ),
    _Set(
        title="DermaMNIST",
        modality="dermatoscopy",
        counts=(7_007, 1_003, 2_005),
        classes=(
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        md5=(
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
        licence="CC BY-NC 4.0",
    ),
    _Set(
        title="OCTMNIST",
        modality="retinal OCT",
        counts=(97_477, 10_832, 1_000),
        classes=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        md5=(
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
    ),
    _Set(
        title="PneumoniaMNIST",
        modality="chest radiographs of children",
        counts=(4_708, 524, 624),
        classes=("normal", "pneumonia"),
        md5=(
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
    ),
    _Set(
        title="RetinaMNIST",
        modality="colour fundus photographs",
        counts=(1_080, 120, 400),
        classes=("0", "1", "2", "3", "4"),
        md5=(
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
        ordinal=True,
    ),
    _Set(
        title="BreastMNIST",
        modality="breast ultrasound",
        counts=(546, 78, 156),
        classes=("malignant", "normal, benign"),
        md5=(
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
    ),
    _Set(
        title="BloodMNIST",
        modality="blood cell microscopy",
        counts=(11_959, 1_712, 3_421),
        classes=(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        md5=(
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
    ),
    _Set(
        title="TissueMNIST",
        modality="kidney cortex microscopy",
        counts=(165_466, 23_640, 47_280),
        classes=(
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        md5=(
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
    ),
    _Set(
        title="OrganAMNIST",
        modality="abdominal CT, axial",
        counts=(34_561, 6_491, 17_778),
        classes=_ORGANS,
        md5=(
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
    ),
    _Set(
        title="OrganCMNIST",
        modality="abdominal CT, coronal",
        counts=(12_975, 2_392, 8_216),
        classes=_ORGANS,
        md5=(
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
    ),
    _Set(
        title="OrganSMNIST",
        modality="abdominal CT, sagittal",
        counts=(13_932, 2_452, 8_827),
        classes=_ORGANS,
        md5=(
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
    ),
)


def _index(facts: _Set, root: Path) -> pd.DataFrame:
    """The table of images below a folder, or of the npz file that the root is itself."""
    path = root if root.suffix == ".npz" else _find(facts.title.lower(), root)
    parts = [_part(facts, path, split) for split in SPLITS]
    table = pd.concat(parts, ignore_index=True)
    return text_table({str(name): table[name] for name in table})


def _find(name: str, root: Path) -> Path:
    require_folder(root, _URL)
    names = [f"{name}{size}.npz" for size in _SIZES]
    there = [root / name for name in names if (root / name).is_file()]
    if not there:
        raise MedstrataError(f"{root} has none of {', '.join(names)}: get one from {_URL}")
    if len(there) > 1:
        raise MedstrataError(
            f"{root} has {', '.join(path.name for path in there)}: name one of these files instead"
        )
    return there[0]


def _part(facts: _Set, path: Path, split: str) -> pd.DataFrame:
    labels, images = read_part(path, split, _URL)
    if len(labels) != images:
        raise MedstrataError(
            f"{path} has {len(labels)} labels for {images} {split} images: get it again from {_URL}"
        )
    columns = {
        "file": path.name,
        "frame": np.arange(images, dtype=np.int64),
        "array": f"{split}_images",
    }
    answers = _answers(facts, labels, path)
    return pd.DataFrame({**columns, **answers, "split.official": split})


def read_part(path: Path, split: str, url: str) -> tuple[np.ndarray, int]:
    """Labels of a split as (N, columns), and how many images it has, without reading them."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{split}_labels.npy") as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        return labels.reshape(len(labels), -1), array_length(path, f"{split}_images")
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, Refused) as error:
        raise MedstrataError(
            f"{path} is no sound npz file with {split}_images and {split}_labels: see {url}"
        ) from error


def _answers(facts: _Set, labels: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    names = facts.classes if facts.findings else ("label",)
    values = np.asarray(("0", "1") if facts.findings else facts.classes)
    if labels.shape[1] != len(names) or not np.isin(labels, np.arange(len(values))).all():
        raise MedstrataError(
            f"{path} has labels that {facts.title} has not: get it again from {_URL}"
        )
    return dict(zip(names, values[labels.T.astype(np.int64)], strict=True))


def _dataset(facts: _Set) -> Dataset:
    name = facts.title.lower()
    return Dataset(
        name=f"medmnist/{name}",
        title=facts.title,
        modality=facts.modality,
        images=sum(facts.counts),
        patients=None,
        labels=(
            dict.fromkeys(facts.classes, ("0", "1")) if facts.findings else {"label": facts.classes}
        ),
        ordinal=("label",) if facts.ordinal else (),
        task=",".join(facts.classes) if facts.findings else "label",
        splits=("official",),
        split_sizes={"official": dict(zip(SPLITS, facts.counts, strict=True))},
        licence=facts.licence,
        citation=(
            "Yang, Shi, Wei et al.: MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D"
            " biomedical image classification, Scientific Data 2023"
        ),
        url=_URL,
        layout=f"{name}.npz (28 px), or {name}_64.npz, {name}_128.npz, {name}_224.npz\n"
        "The root is the file, or a folder with one of them.",
        checksums={
            f"{name}{size}.npz": f"md5:{md5}" for size, md5 in zip(_SIZES, facts.md5, strict=True)
        },
        note="Patients are not known, so intervals are over images.",
        index=partial(_index, facts),
    )


MEDMNIST = tuple(_dataset(facts) for facts in _SETS)
