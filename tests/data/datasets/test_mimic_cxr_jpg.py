"""MIMIC-CXR-JPG: studies joined to their images."""

from pathlib import Path

from medstrata.data.datasets.registry import DATASETS
from support import dataset_trees as trees


def test_mimic_joins_studies_and_reads_unpacked_tables(tmp_path: Path) -> None:
    packed = DATASETS["mimic-cxr-jpg"].index(trees.mimic(tmp_path / "a"))
    plain = DATASETS["mimic-cxr-jpg"].index(trees.mimic(tmp_path / "b", packed=False))
    assert packed.equals(plain)
    labels = list(DATASETS["mimic-cxr-jpg"].labels)
    assert packed.loc[0, labels].isna().all()  # its study has no row
    # Study 1 starts with 0, then -1, unknown, 1.
    assert packed.loc[2, labels[:2]].tolist() == ["0", "-1"]
    assert packed.loc[3, labels].isna().sum() == 3
    assert packed.loc[2, "view"] == "PA"
    assert packed["split.official"].value_counts().to_dict() == {"train": 20, "test": 8, "val": 4}
    assert packed.loc[2, "file"].startswith("files/p10/p10500032/s50414268/02aa804e-")
