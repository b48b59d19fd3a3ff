"""BreaKHis: a patient under two subtypes."""

from pathlib import Path

from medstrata.data.datasets.registry import DATASETS
from support import dataset_trees as trees


def test_breakhis_patient_under_two_subtypes(tmp_path: Path) -> None:
    root = trees.breakhis(tmp_path)
    table = DATASETS["breakhis"].index(root)
    assert table["patient_id"].nunique() == len(trees._SLIDES) - 1
    both = table[table["patient_id"] == "14-13412"]
    assert len(both) == 8
    assert {*both["tumour"]} == {"malignant"}
    assert both["subtype"].isna().all()
    assert table["subtype"].isna().sum() == 8
    assert table["magnification"].value_counts().to_dict() == dict.fromkeys(
        ("40", "100", "200", "400"), len(trees._SLIDES)
    )
    inside = DATASETS["breakhis"].index(root / "BreaKHis_v1")
    assert ("BreaKHis_v1/" + inside["file"]).equals(table["file"])
