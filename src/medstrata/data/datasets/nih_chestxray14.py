"""NIH ChestX-ray14: frontal chest radiographs with findings mined from reports."""

import posixpath
from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import (
    draw_validation,
    files_in,
    find_table,
    folders_in,
    read_columns,
    read_lists,
    text_table,
)
from medstrata.data.datasets.dataset import DamagedCopy, Dataset

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
)
_NONE = "No Finding"
_URL = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
_LISTS_URL = "https://github.com/arnoweng/CheXNet (folder ChestX-ray14/labels)"


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    path = find_table(root, ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"))
    columns = ("Image Index", "Finding Labels", "Patient ID")
    entries = read_columns(path, columns)
    names, patients = entries["Image Index"], entries["Patient ID"]
    return text_table(
        {
            "file": _file_paths(root, names),
            "patient_id": patients,
            **_findings(entries["Finding Labels"], path),
            **_splits(root, names, patients),
        }
    )


def _file_paths(root: Path, names: pd.Series) -> pd.Series:
    """Where each image lies; archives unpacked apart have a folder each."""
    apart = [f"{name}/images" for name in folders_in(root) if name.startswith("images_")]
    files = files_in(root, ["images", *apart], ".png")
    path = pd.Series(files.to_numpy(), index=files.map(posixpath.basename).to_numpy())
    path = path[~path.index.duplicated()]
    return names.map(path).astype("string").fillna("images/" + names)


def _findings(text: pd.Series, path: Path) -> dict[str, pd.Series]:
    marks = text.str.get_dummies("|")
    strange = [name for name in marks if name not in (*FINDINGS, _NONE)]
    if strange:
        raise DamagedCopy(f"{path} has an unknown finding {strange[0]!r}")
    marks = marks.reindex(columns=list(FINDINGS), fill_value=0)
    return {name: marks[name].astype("string") for name in FINDINGS}


def _splits(root: Path, names: pd.Series, patients: pd.Series) -> dict[str, pd.Series]:
    splits = {}
    official = {"train": root / "train_val_list.txt", "test": root / "test_list.txt"}
    if all(path.is_file() for path in official.values()):
        part = read_lists(names, official, _URL)
        drawn = part.eq("train").fillna(value=False).astype(bool)
        splits["split.official"] = part.where(~drawn, draw_validation(patients, drawn))
    paper = {part: root / "labels" / f"{part}_list.txt" for part in ("train", "val", "test")}
    if all(path.is_file() for path in paper.values()):
        splits["split.paper"] = read_lists(names, paper, _LISTS_URL)
    return splits


NIH_CHESTXRAY14 = Dataset(
    name="nih-chestxray14",
    title="NIH ChestX-ray14",
    modality="chest radiographs, frontal",
    images=112_120,
    patients=30_805,
    labels=dict.fromkeys(FINDINGS, ("0", "1")),
    task=",".join(FINDINGS),
    splits=("official", "paper"),
    split_files={
        "official": f"train_val_list.txt and test_list.txt in the root, from {_URL}",
        "paper": f"labels/train_list.txt, val_list.txt and test_list.txt, from {_LISTS_URL}",
    },
    # 28,008 patients train or validate and 2,797 test officially; 21,528, 3,090 and 6,187 in paper.
    split_sizes={
        "official": {"test": 25_596},
        "paper": {"train": 78_468, "val": 11_219, "test": 22_433},
    },
    licence="free use; NIH asks for a link to its site, the citation and an acknowledgement",
    citation=(
        "Wang, Peng, Lu, Lu, Bagheri, Summers: ChestX-ray8: Hospital-scale Chest X-ray Database and"
        " Benchmarks, CVPR 2017"
    ),
    url=_URL,
    layout="""\
Data_Entry_2017.csv or Data_Entry_2017_v2020.csv
train_val_list.txt, test_list.txt              official split
labels/{train,val,test}_list.txt               split `paper`, if wanted
images/00000001_000.png ...                    or images_001/images/00000001_000.png ...""",
    note=(
        "Official split: an eighth of train_val, drawn by patient with seed 0, validates. Split "
        "`paper` is the random 70/10/20 division by patient that ChestMNIST uses too. Labels were "
        "mined from reports and are wrong for part of the images."
    ),
    index=index,
)
