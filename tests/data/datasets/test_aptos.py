"""APTOS 2019: images without a grade."""

from pathlib import Path

from support import dataset_trees as trees


def test_aptos_test_images_have_no_grade(tmp_path: Path) -> None:
    root = trees.aptos(tmp_path)
    table = trees.indexed("aptos-2019", root)
    assert table.loc["train_images/000c1434d8d7.png", "grade"] == "0"
    assert table["grade"].isna().sum() == 3
    (root / "test.csv").unlink()
    assert len(trees.indexed("aptos-2019", root)) == 20
