"""Splits and label fractions keep patients whole and shares as asked for."""

import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from medstrata.data.labels import Task
from medstrata.data.splits import assign_splits, label_order, label_subset
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support.table_store import store_of_table


def cohort(patients: int = 400, seed: int = 0):
    """Patients with 1 to 8 images; each image of a patient has its main class or class 0."""
    generator = np.random.default_rng(seed)
    images = generator.integers(1, 9, patients)
    patient = np.repeat(np.arange(patients), images)
    main = generator.choice(3, patients, p=[0.6, 0.3, 0.1])[patient]
    targets = np.where(generator.random(len(patient)) < 0.3, 0, main)
    targets[generator.random(len(patient)) < 0.05] = -1
    shuffled = generator.permutation(len(patient))
    ids = np.array([f"p{number}" for number in patient])
    return ids[shuffled], targets[shuffled]


def test_splits_are_patient_disjoint_with_the_shares_asked_for():
    ids, targets = cohort()
    split = assign_splits(ids, targets, (0.6, 0.15, 0.25), seed=3)
    assert all(len(set(split[ids == patient])) == 1 for patient in np.unique(ids))
    for name, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        assert abs((split == name).mean() - share) < 8 / len(ids)
        for label in range(3):
            here = targets == label
            assert abs((split[here] == name).mean() - share) < 0.08


def test_splits_are_seeded_and_leave_global_randomness_alone():
    ids, targets = cohort()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = assign_splits(ids, targets, seed=0)
    assert (first == assign_splits(ids, targets, seed=0)).all()
    assert (first != assign_splits(ids, targets, seed=1)).mean() > 0.2
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_no_split_prefers_large_patients():
    ids = np.repeat(np.arange(60), np.where(np.arange(60) < 10, 20, 1))
    share = np.mean([(assign_splits(ids, None, seed=s)[:200] == "test").mean() for s in range(200)])
    assert abs(share - 0.2) < 0.03


def test_few_patients_by_hand():
    # Each goes where the share is furthest behind: train, then test, and so on.
    counts = Counter(assign_splits(np.arange(10), None).tolist())
    assert counts == {"train": 7, "val": 1, "test": 2}
    assert Counter(assign_splits(np.arange(4), None).tolist()).keys() == {"train", "val", "test"}
    assert set(assign_splits(np.arange(5), None, (1.0, 0.0, 0.0))) == {"train"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)])
def test_shares_must_add_up(shares):
    with pytest.raises(MedstrataError, match="must be three, for train, val and test"):
        assign_splits(np.arange(9), None, shares)


def order_of(targets, ids, seed=0, kind="multiclass"):
    rows = np.flatnonzero(targets >= 0) if targets.ndim == 1 else np.arange(len(targets))
    return rows, label_order(targets, kind, ids, rows, seed)


def test_label_order_by_hand():
    # Class 1 is rarer, so patients a and b are of stratum 1 and c of stratum 0.
    ids = np.array(["a", "a", "b", "c", "c", "c"])
    targets = np.array([0, 1, 1, 0, 0, 0])
    _, position = order_of(targets, ids)
    assert position[0] == position[1] > 0
    assert position[3] == position[4] == position[5] < 1e-300
    first, last = sorted({position[0], position[2]})
    assert first < 1e-300
    assert last == 1.0


def test_label_fractions_are_nested_stratified_and_keep_patients_whole():
    ids, targets = cohort(4000)
    rows, position = order_of(targets, ids)
    assert position.min() > 0
    assert position.max() == 1
    inside = {fraction: position <= fraction for fraction in (0.01, 0.1, 0.5, 1.0)}
    assert inside[1.0].all()
    for smaller, larger in ((0.01, 0.1), (0.1, 0.5), (0.5, 1.0)):
        assert (inside[smaller] <= inside[larger]).all()
    for fraction, chosen in inside.items():
        taken = set(ids[rows][chosen])
        assert taken.isdisjoint(ids[rows][~chosen])
        assert abs(chosen.mean() - fraction) < 0.005
        for label in range(3):
            assert abs(chosen[targets[rows] == label].mean() - fraction) < 0.02


def test_every_class_is_in_the_smallest_fraction():
    for seed in range(20):
        ids, targets = cohort(60, seed)
        rows, position = order_of(targets, ids, seed)
        assert set(targets[rows][position <= 1e-9]) == set(targets[rows])


def test_class_without_patients_of_its_own_is_in_the_smallest_fraction():
    # Class 0 is the commonest, but only patients 35 to 39 have it, and rarer classes too.
    ids = np.concatenate([np.arange(40), np.repeat(np.arange(35, 40), 10)])
    targets = np.concatenate([1 + np.arange(40) % 2, np.zeros(50, np.int64)])
    for seed in range(5):
        rows, position = order_of(targets, ids, seed)
        assert set(targets[rows][position <= 1e-9]) == {0, 1, 2}


def test_label_order_is_seeded():
    ids, targets = cohort()
    rows, first = order_of(targets, ids, seed=0)
    np.testing.assert_array_equal(first, order_of(targets, ids, seed=0)[1])
    _, other = order_of(targets, ids, seed=1)
    both = ((first <= 0.1) & (other <= 0.1)).sum() / (first <= 0.1).sum()
    assert both < 0.4
    assert len(rows) == len(first)


def test_multilabel_keeps_the_rarest_label():
    generator = np.random.default_rng(0)
    targets = (generator.random((500, 3)) < [0.5, 0.2, 0.02]).astype(np.float32)
    targets[::7, 1] = np.nan
    ids = np.arange(500) // 2
    _, position = order_of(targets, ids, kind="multilabel")
    assert (targets[position <= 0.01] == 1).any(axis=0).all()
    assert abs((position <= 0.3).mean() - 0.3) < 0.03


def store_of(ids, split) -> Store:
    return store_of_table(pd.DataFrame({"patient_id": ids, "split": split}))


def test_label_subset_is_of_labelled_training_images():
    ids, targets = cohort()
    split = assign_splits(ids, targets)
    store = store_of(ids, split)
    task = Task("finding", "multiclass", ("a", "b", "c"), targets)
    rows = label_subset(task, store, 0.2, seed=0)
    assert (np.diff(rows) > 0).all()
    assert (split[rows] == "train").all()
    assert (targets[rows] >= 0).all()
    everything = label_subset(task, store, 1.0, seed=5)
    np.testing.assert_array_equal(everything, np.flatnonzero((split == "train") & (targets >= 0)))
    assert abs(len(rows) / len(everything) - 0.2) < 0.02


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01])
def test_label_subset_refuses_other_fractions(fraction):
    ids, targets = cohort()
    task = Task("finding", "multiclass", ("a", "b", "c"), targets)
    with pytest.raises(MedstrataError, match="above 0 and at most 1"):
        label_subset(task, store_of(ids, "train"), fraction, 0)


def test_one_class_alone_is_an_error():
    ids = np.arange(50)
    store = store_of(ids, "train")
    ones = Task("finding", "binary", ("no", "yes"), np.ones(50, np.int64))
    with pytest.raises(MedstrataError, match="only class 'yes' is among the 50 labelled"):
        label_subset(ones, store, 1.0, 0)
    nothing = Task("finding", "binary", ("no", "yes"), np.full(50, -1))
    with pytest.raises(MedstrataError, match="no class is among the 0 labelled"):
        label_subset(nothing, store, 0.5, 0)
    zeros = Task("a,b", "multilabel", ("a", "b"), np.zeros((50, 2), np.float32))
    with pytest.raises(MedstrataError, match="no label has both 0 and 1"):
        label_subset(zeros, store, 0.5, 0)
