"""The five grades of diabetic retinopathy, which two fundus data sets share."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import map_codes

# None, mild, moderate, severe, proliferative; moderate and worse is referable.
GRADES = {"grade": ("0", "1", "2", "3", "4"), "referable": ("0", "1")}
_REFERABLE = {"0": "0", "1": "0", "2": "1", "3": "1", "4": "1"}


def grade_columns(column: pd.Series, path: Path) -> dict[str, pd.Series]:
    """Grade, and whether it is referable.

    Raises:
        DamagedCopy: a grade is not 0 to 4.
    """
    grade = map_codes(column, {value: value for value in GRADES["grade"]}, path)
    return {"grade": grade, "referable": grade.map(_REFERABLE).astype("string")}
