"""EyePACS: fundus photographs of both eyes, graded for diabetic retinopathy."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import (
    draw_validation,
    find_table,
    map_codes,
    match_names,
    read_columns,
    text_table,
)
from medstrata.data.datasets.dataset import Dataset
from medstrata.data.datasets.retinopathy import GRADES, grade_columns

_URL = "https://www.kaggle.com/c/diabetic-retinopathy-detection/data"
_TEST = "retinopathy_solution.csv"
_USAGE = {"Public": "val", "Private": "test"}


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    parts = [_part(find_table(root, ("trainLabels.csv",)), "train")]
    with_test = (root / _TEST).is_file()
    if with_test:
        parts.append(_part(root / _TEST, "test"))
    table = pd.concat(parts, ignore_index=True)
    usage = table.pop("usage")
    if with_test:
        trains = usage.eq("train")
        table["split.official"] = draw_validation(table["patient_id"], trains).fillna("test")
        table["split.kaggle"] = usage
    return text_table(table)


def _part(path: Path, folder: str) -> pd.DataFrame:
    tests = folder == "test"
    columns = ("image", "level", "Usage") if tests else ("image", "level")
    rows = read_columns(path, columns)
    name = match_names(rows["image"], r"^(\d+)_(left|right)$", path)
    trains = pd.Series("train", index=rows.index, dtype="string")
    return pd.DataFrame(
        {
            "file": f"{folder}/" + rows["image"] + ".jpeg",
            "patient_id": name[0],
            **grade_columns(rows["level"], path),
            "eye": name[1],
            "usage": map_codes(rows["Usage"], _USAGE, path) if tests else trains,
        }
    )


EYEPACS = Dataset(
    name="eyepacs",
    title="EyePACS, Kaggle Diabetic Retinopathy Detection",
    modality="colour fundus photographs",
    images=88_702,
    patients=44_351,
    labels=GRADES,
    ordinal=("grade",),
    task="grade",
    splits=("official", "kaggle"),
    split_files=dict.fromkeys(
        ("official", "kaggle"), f"{_TEST} in the root, from the Kaggle forum of {_URL}"
    ),
    split_sizes={
        "official": {"test": 53_576},
        "kaggle": {"train": 35_126, "val": 10_906, "test": 42_670},
    },
    licence="rules of the Kaggle competition",
    citation="Dugas, Jared, Jorge, Cukierski: Diabetic Retinopathy Detection, Kaggle 2015",
    url=_URL,
    layout=f"""\
trainLabels.csv                                image,level
{_TEST}                       image,level,Usage; without it only train/ is used
train/10_left.jpeg, train/10_right.jpeg ...
test/1_left.jpeg, test/1_right.jpeg ...""",
    note=(
        "Two eyes are one patient. Split `official` tests on all test images and validates on an "
        "eighth of train, drawn by patient with seed 0; `kaggle` trains on all of train and "
        "validates on the public part of the test images. Column `referable` is grade 2 or more."
    ),
    index=index,
)
