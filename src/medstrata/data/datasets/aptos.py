"""APTOS 2019: fundus photographs graded for diabetic retinopathy."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import find_table, read_columns, text_table
from medstrata.data.datasets.dataset import Dataset
from medstrata.data.datasets.retinopathy import GRADES, grade_columns


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    path = find_table(root, ("train.csv",))
    rows = read_columns(path, ("id_code", "diagnosis"))
    grades = grade_columns(rows["diagnosis"], path)
    parts = [pd.DataFrame({"file": "train_images/" + rows["id_code"] + ".png", **grades})]
    if (root / "test.csv").is_file():
        tests = read_columns(root / "test.csv", ("id_code",))
        parts.append(pd.DataFrame({"file": "test_images/" + tests["id_code"] + ".png"}))
    table = pd.concat(parts, ignore_index=True)
    return text_table(table)


APTOS_2019 = Dataset(
    name="aptos-2019",
    title="APTOS 2019 Blindness Detection",
    modality="colour fundus photographs",
    images=3_662,
    labels=GRADES,
    ordinal=("grade",),
    task="grade",
    optional_images=1_928,
    licence="rules of the Kaggle competition",
    citation="Asia Pacific Tele-Ophthalmology Society: APTOS 2019 Blindness Detection, Kaggle 2019",
    url="https://www.kaggle.com/c/aptos2019-blindness-detection/data",
    layout="""\
train.csv                                      id_code,diagnosis
train_images/000c1434d8d7.png ...
test.csv, test_images/                         1,928 images without grades, if you have them""",
    note=(
        "Patients are not known, so two eyes of one person may stand in two splits. Test images "
        "have no published grades; they serve pre-training. Column `referable` is grade 2 or more."
    ),
    index=index,
)
