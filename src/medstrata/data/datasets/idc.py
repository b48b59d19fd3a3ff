"""IDC: patches of breast tissue with and without invasive ductal carcinoma."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import (
    files_in,
    folders_in,
    match_names,
    read_lists,
    require_folder,
    text_table,
)
from medstrata.data.datasets.dataset import DamagedCopy, Dataset
from medstrata.data.splits import assign_splits

_COPY = "IDC_regular_ps50_idx5"
_LISTS = "the split of Cruz-Roa et al."
_SHARES = (0.6, 0.2, 0.2)  # as in the paper's division, 56 of 279 patients validate and 56 test


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    require_folder(root)
    # The archive holds the patients twice: in its root, and in a folder of their own.
    patients = _patient_folders(root, "") or _patient_folders(root, f"{_COPY}/")
    files = files_in(root, [f"{patient}/{label}" for patient in patients for label in "01"], ".png")
    if files.empty:
        raise DamagedCopy(f"{root} has no <patient>/<0 or 1>/*.png")
    names = files.str.rpartition("/")[2]
    parts = match_names(names, r"^(\d+)_idx\d+_x\d+_y\d+_class([01])\.png$", root)
    return text_table(
        {
            "file": files,
            "patient_id": parts[0],
            "idc": parts[1],
            **_paper_split(root, parts[0]),
            "split.seeded": pd.Series(assign_splits(parts[0], _SHARES, seed=0)),
        }
    )


def _patient_folders(root: Path, below: str) -> list[str]:
    return [f"{below}{name}" for name in folders_in(root / below) if name.isdigit()]


def _paper_split(root: Path, patients: pd.Series) -> dict[str, pd.Series]:
    """Validation and test patients as the user lists them; the others train."""
    lists = {part: root / "splits" / f"{part}_patients.txt" for part in ("val", "test")}
    if not all(path.is_file() for path in lists.values()):
        return {}
    return {"split.paper": read_lists(patients, lists, _LISTS).fillna("train")}


IDC = Dataset(
    name="idc",
    title="Invasive ductal carcinoma patches",
    modality="histopathology, H&E, breast, patches of 50 px at 40x",
    images=277_524,
    patients=279,
    labels={"idc": ("0", "1")},
    task="idc",
    splits=("seeded", "paper"),
    split_files={
        "paper": (
            "splits/val_patients.txt and splits/test_patients.txt, a patient a line, from the "
            "paper's authors; split 'seeded' needs no files"
        )
    },
    split_sizes={"paper": {"train": 174_144, "val": 53_922, "test": 49_458}},
    licence="CC0 1.0, as Kaggle states it",
    citation=(
        "Cruz-Roa, Basavanhally, Gonzalez et al.: Automatic detection of invasive ductal carcinoma "
        "in whole slide images with convolutional neural networks, SPIE Medical Imaging 2014"
    ),
    url="https://www.kaggle.com/datasets/paultimothymooney/breast-histopathology-images",
    layout=f"""\
10253/0/10253_idx5_x1001_y1001_class0.png ...  or all of it in {_COPY}/
10253/1/10253_idx5_x501_y351_class1.png ...
splits/{{val,test}}_patients.txt                 split `paper`, if wanted""",
    note=(
        "Split `seeded` draws 60/20/20 by patient with seed 0. Patches whose "
        "borders touch the slide's are smaller than 50 px."
    ),
    index=index,
)
