"""MIMIC-CXR-JPG: chest radiographs of an emergency department."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.chexpert import COMPETITION, MARKS, OBSERVATIONS
from medstrata.data.datasets.columns import (
    find_table,
    map_codes,
    read_columns,
    text_table,
)
from medstrata.data.datasets.dataset import DamagedCopy, Dataset

FINDINGS = tuple(sorted(OBSERVATIONS))
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    path = _find(root, "split")
    keys = ("dicom_id", "study_id", "subject_id", "split")
    images = read_columns(path, keys)
    subject = images["subject_id"]
    group = "p" + subject.str.slice(0, 2)
    folder = "files/" + group + "/p" + subject + "/s" + images["study_id"]
    return text_table(
        {
            "file": folder + "/" + images["dicom_id"] + ".jpg",
            "patient_id": subject,
            **_labels(root, images["study_id"]),
            "view": _views(root, images["dicom_id"]),
            "split.official": map_codes(images["split"], _SPLITS, path),
        }
    )


def _find(root: Path, what: str) -> Path:
    name = f"mimic-cxr-2.0.0-{what}.csv"
    return find_table(root, (f"{name}.gz", name))


def _labels(root: Path, studies: pd.Series) -> dict[str, pd.Series]:
    path = _find(root, "chexpert")
    rows = read_columns(path, ("study_id",), nullable=FINDINGS)
    for name in FINDINGS:
        rows[name] = map_codes(rows[name], MARKS, path)
    joined = _joined(rows, "study_id", studies, path)
    return {name: joined[name] for name in FINDINGS}


def _views(root: Path, images: pd.Series) -> pd.Series:
    path = _find(root, "metadata")
    rows = read_columns(path, ("dicom_id",), nullable=("ViewPosition",))
    return _joined(rows, "dicom_id", images, path)["ViewPosition"]


def _joined(rows: pd.DataFrame, key: str, wanted: pd.Series, path: Path) -> pd.DataFrame:
    """The row of each wanted key, null where there is none."""
    again = rows[key].duplicated()
    if again.any():
        raise DamagedCopy(f"{path} has {rows.loc[again, key].iloc[0]} twice")
    return rows.set_index(key).reindex(wanted.to_numpy()).reset_index(drop=True)


MIMIC_CXR_JPG = Dataset(
    name="mimic-cxr-jpg",
    title="MIMIC-CXR-JPG 2.x",
    modality="chest radiographs, frontal and lateral",
    images=377_110,
    patients=65_379,
    labels=dict.fromkeys(FINDINGS, ("0", "1")),
    uncertain="-1",
    task=",".join(COMPETITION),
    splits=("official",),
    split_sizes={"official": {"train": 368_960, "val": 2_991, "test": 5_159}},
    licence="PhysioNet Credentialed Health Data License 1.5.0: training and an agreement first",
    citation=(
        "Johnson, Pollard, Greenbaum et al.: MIMIC-CXR-JPG, a large publicly available database of "
        "labeled chest radiographs, arXiv:1901.07042, 2019"
    ),
    url="https://physionet.org/content/mimic-cxr-jpg/",
    layout="""\
mimic-cxr-2.0.0-split.csv.gz                   each also without .gz
mimic-cxr-2.0.0-chexpert.csv.gz
mimic-cxr-2.0.0-metadata.csv.gz
files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg ...""",
    note="Labels were mined from reports; an empty cell is unknown, not negative.",
    index=index,
)
