"""Which labels an evaluation uses: a fraction to train, all of validation or as few to choose."""

import numpy as np
import pandas as pd
import pytest

from medstrata.data.labels import Task
from medstrata.data.store.store import Store
from medstrata.evaluation.result_tables import describe_labels
from medstrata.evaluation.rows import labelled_parts
from medstrata.runtime.errors import MedstrataError
from support.table_store import store_of_table

IMAGES = 6000


def cohort() -> tuple[Store, Task]:
    """1,000 patients of six images, three quarters in training, every tenth eight of class 1."""
    patients = np.arange(IMAGES) // 6
    split = np.select([patients % 8 < 6, patients % 8 == 6], ["train", "val"], "test")
    table = pd.DataFrame({"patient_id": patients.astype(str), "split": split})
    targets = (patients // 8 % 10 == 0).astype(np.int64)
    return store_of_table(table), Task("finding", "binary", ("no", "yes"), targets)


def test_all_validation_labels_choose_by_default() -> None:
    store, task = cohort()
    parts = labelled_parts(store, task, 0.05, 0)
    np.testing.assert_array_equal(parts.val, store.rows("val"))
    np.testing.assert_array_equal(parts.test, store.rows("test"))


def test_the_fraction_applies_to_validation_too() -> None:
    store, task = cohort()
    full, few, more = (
        labelled_parts(store, task, fraction, 0, validation)
        for fraction, validation in ((0.05, "full"), (0.05, "same"), (0.2, "same"))
    )
    np.testing.assert_array_equal(few.train, full.train)
    np.testing.assert_array_equal(few.test, full.test)
    assert abs(len(few.val) - 0.05 * len(full.val)) <= 6  # two patients of six carry the classes
    assert set(few.val) < set(more.val) < set(full.val)
    assert set(task.targets[few.val]) == {0, 1}
    other = labelled_parts(store, task, 0.05, 1, "same")
    assert set(other.val) != set(few.val)


def test_labels_are_counted() -> None:
    store, task = cohort()
    parts = labelled_parts(store, task, 0.05, 0, "same")
    counts = describe_labels(store, parts)
    assert counts["train"]["images"] == len(parts.train)
    assert counts["val"] == {"images": len(parts.val), "patients": len(parts.val) // 6}
    assert counts["all"]["patients"] == (len(parts.train) + len(parts.val)) // 6
    assert parts.labels == (
        f"{len(parts.train)} labelled images for training, {len(parts.val)} for choosing"
    )


def several(*columns: list[float]) -> Task:
    targets = np.array(columns, dtype=np.float32).T
    return Task("a,b", "multilabel", ("a", "b"), targets)


def six() -> Store:
    split = ["train", "train", "val", "val", "test", "test"]
    return store_of_table(pd.DataFrame({"patient_id": list("uvwxyz"), "split": split}))


def test_labels_that_cannot_be_scored_are_refused_before_training() -> None:
    task = several([0, 1, 0, 1, 1, 1], [1, 0, 0, 1, 0, 0])
    with pytest.raises(MedstrataError, match="no label has both 0 and 1 among the 2 test images"):
        labelled_parts(six(), task, 1.0, 0)


def test_a_label_that_takes_no_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    labelled_parts(six(), several([0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 1]), 1.0, 0)
    said = " ".join(capsys.readouterr().err.split())
    assert "a,b: b without both 0 and 1 among the 2 test images" in said
    assert "a,b: no training image has b, test images do" in said


def test_a_class_that_only_test_images_have_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    task = Task("kind", "multiclass", ("x", "y", "z"), np.array([0, 1, 0, 1, 0, 2]))
    labelled_parts(six(), task, 1.0, 0)
    assert "kind: no training image has z" in " ".join(capsys.readouterr().err.split())
