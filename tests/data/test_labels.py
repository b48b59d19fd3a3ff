"""Columns of a store become tasks with targets."""

import numpy as np
import pandas as pd
import pytest

from medstrata.data.labels import make_task
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support.table_store import store_of_table


@pytest.fixture
def store() -> Store:
    """Five rows of labels, without pixels."""
    labels = {
        "finding": pd.array([0, 1, None, 1, 0], dtype="Int64"),
        "tissue": pd.array(["stroma", "g3", "g4", None, "g3"], dtype="string"),
        "grade": pd.array([0, 2, 1, None, 2], dtype="Int64"),
        "edema": pd.array([0, 1, -1, None, 1], dtype="Int64"),
        "a:b": pd.array([0, 1, 0, 1, 0], dtype="Int64"),
    }
    manifest = pd.DataFrame(
        {"split": "train", "patient_id": list("aabbc")}
        | {f"label.{name}": values for name, values in labels.items()}
    )
    columns = {
        "finding": {"kind": "binary", "classes": ["0", "1"]},
        "tissue": {"kind": "multiclass", "classes": ["g3", "g4", "stroma"]},
        "grade": {"kind": "ordinal", "classes": ["0", "1", "2"]},
        "edema": {"kind": "multiclass", "classes": ["-1", "0", "1"]},
        "a:b": {"kind": "binary", "classes": ["0", "1"]},
    }
    return store_of_table(manifest, label_columns=columns)


@pytest.mark.parametrize(
    ("spec", "kind", "classes", "targets"),
    [
        ("finding", "binary", ("0", "1"), [0, 1, -1, 1, 0]),
        ("tissue", "multiclass", ("g3", "g4", "stroma"), [2, 0, 1, -1, 0]),
        ("grade", "ordinal", ("0", "1", "2"), [0, 2, 1, -1, 2]),
        ("tissue: stroma vs g3+g4", "binary", ("stroma", "g3+g4"), [0, 1, 1, -1, 1]),
        ("tissue: g4 vs g3", "binary", ("g4", "g3"), [-1, 1, 0, -1, 1]),
        ("tissue: g4 vs g3 vs stroma", "multiclass", ("g4", "g3", "stroma"), [2, 1, 0, -1, 1]),
        ("grade: 2 vs 0 vs 1", "ordinal", ("2", "0", "1"), [1, 0, 2, -1, 0]),
        ("finding:1 vs 0", "binary", ("1", "0"), [1, 0, -1, 0, 1]),
        ("a:b", "binary", ("0", "1"), [0, 1, 0, 1, 0]),
        ("a:b: 1 vs 0", "binary", ("1", "0"), [1, 0, 1, 0, 1]),
    ],
)
def test_tasks(store, spec, kind, classes, targets):
    task = make_task(store, spec)
    assert (task.name, task.kind, task.classes) == (spec, kind, classes)
    assert task.targets.dtype == np.int64
    assert task.targets.tolist() == targets


def test_several_columns_are_multilabel(store):
    task = make_task(store, "finding, edema")
    assert (task.kind, task.classes) == ("multilabel", ("finding", "edema"))
    assert task.targets.dtype == np.float32
    nan = np.nan  # unknown, and -1 for uncertain
    np.testing.assert_array_equal(task.targets, [[0, 0], [1, 1], [nan, nan], [1, nan], [0, 1]])
    single = make_task(store, "edema", "multilabel")
    np.testing.assert_array_equal(single.targets, task.targets[:, 1:])


def test_kind_may_be_told(store):
    assert make_task(store, "tissue: stroma vs g3 vs g4", "ordinal").kind == "ordinal"
    assert make_task(store, "grade", "multiclass").kind == "multiclass"
    assert make_task(store, "finding", "multiclass").kind == "multiclass"


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("other", None, "no label column 'other'; it has 'finding', 'tissue', 'grade'"),
        ("finding,other", None, "no label column 'other'; it has"),
        ("other: a vs b", None, "no label column 'other: a vs b'; it has"),
        ("tissue: stroma vs g5", None, "no value 'g5'; it has 'g3', 'g4', 'stroma'"),
        ("tissue: stroma", None, "two or more groups"),
        ("tissue: g3 vs g3+g4", None, "each value once"),
        ("tissue", "binary", r"3 classes.*'tissue: g3 vs g4\+stroma'"),
        ("finding,tissue", None, "holds 0 and 1, tissue holds 'g3', 'g4', 'stroma'"),
        ("finding,edema", "binary", "its kind is multilabel, not binary"),
        ("tissue: g3 vs g4", "multilabel", "multilabel takes 0/1 columns"),
    ],
)
def test_tasks_that_cannot_be(store, spec, kind, message):
    with pytest.raises(MedstrataError, match=message):
        make_task(store, spec, kind)


def test_a_kind_that_there_is_not(store):
    with pytest.raises(ValueError, match="one of binary, multiclass, multilabel, ordinal, got 'x'"):
        make_task(store, "finding", "x")


def test_store_without_labels(store):
    store.label_columns.clear()
    with pytest.raises(MedstrataError, match="has no labels: prepare it again with --labels"):
        make_task(store, "finding")
