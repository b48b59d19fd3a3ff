"""Splits and label fractions keep patients whole and shares as asked for."""

import random

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


def many_patients(patients: int = 4000):
    ids = np.repeat([f"patient {number}" for number in range(patients)], 2)
    return ids, np.arange(len(ids)) // 2


def test_splits_are_patient_disjoint_and_hold_the_shares_on_average():
    ids, _ = many_patients()
    split = assign_splits(ids, (0.6, 0.15, 0.25), seed=3)
    table = pd.DataFrame({"patient": ids, "split": split})
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    for name, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        # 4,000 patients drawn one by one: four standard deviations.
        assert abs((split == name).mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)


@pytest.mark.parametrize("seed", range(5))
def test_a_split_is_a_function_of_seed_and_id_alone(seed):
    ids, _ = cohort(seed=seed)
    alone = dict(zip(ids, assign_splits(ids, seed=seed), strict=True))
    generator = np.random.default_rng(seed)
    added = np.concatenate([ids, [f"new{number}" for number in range(300)], ids[:50]])
    shuffled = generator.permutation(added)
    fewer = generator.choice(ids, len(ids) // 3, replace=False)
    for others in (shuffled, fewer):
        among = dict(zip(others, assign_splits(others, seed=seed), strict=True))
        assert all(among[name] == alone[name] for name in alone.keys() & among.keys())
    one = ids[0]
    assert assign_splits([one], seed=seed).tolist() == [alone[one]]


def test_a_group_is_in_one_split_and_only_its_links_move_patients():
    ids, patient = many_patients(600)
    apart = assign_splits(ids)
    groups = np.where(patient < 30, patient % 3, patient)
    bound = assign_splits(ids, groups=groups)
    for group in range(3):
        (where,) = set(bound[groups == group])
        assert where in apart[groups == group]  # one of its patients decides
    np.testing.assert_array_equal(bound[patient >= 30], apart[patient >= 30])
    shuffled = np.random.default_rng(0).permutation(len(ids))
    np.testing.assert_array_equal(
        assign_splits(ids[shuffled], groups=1000 - groups[shuffled]), bound[shuffled]
    )


def test_groups_are_in_no_split_more_often():
    ids = np.arange(4000)
    bound = assign_splits(ids, (0.5, 0.2, 0.3), groups=ids // 10)
    assert abs((bound == "train").mean() - 0.5) < 4 * 0.5 / np.sqrt(400)


def test_splits_are_seeded_and_leave_global_randomness_alone():
    ids, _ = cohort()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = assign_splits(ids, seed=0)
    assert (first == assign_splits(ids, seed=0)).all()
    assert (first != assign_splits(ids, seed=1)).mean() > 0.2
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002


def test_no_split_prefers_large_patients():
    ids = np.repeat(np.arange(60), np.where(np.arange(60) < 10, 20, 1))
    share = np.mean([(assign_splits(ids, seed=s)[:200] == "test").mean() for s in range(200)])
    assert abs(share - 0.2) < 0.03


def test_draws_do_not_change():
    # Stores and published splits rest on these.
    drawn = assign_splits([f"p{number}" for number in range(12)], (0.5, 0.25, 0.25), seed=0)
    assert " ".join(drawn) == "val val test test val val test test train train train test"
    assert set(assign_splits(np.arange(500), (1.0, 0.0, 0.0))) == {"train"}
    assert set(assign_splits(np.arange(500), (0.3, 0.7, 0.0))) == {"train", "val"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)])
def test_shares_must_add_up(shares):
    with pytest.raises(MedstrataError, match="must be three, for train, val and test"):
        assign_splits(np.arange(9), shares)


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
    # Patients a and b hold 2 and 1 of 6 images and c, always in, the rest.
    first, last = sorted([(position[0], 2), (position[2], 1)])
    assert first[0] < 1e-300
    assert last[0] == pytest.approx(1 - last[1] / 6 / 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_subset_has_the_share_asked_for_as_nearly_as_whole_patients_allow(seed):
    generator = np.random.default_rng(seed)
    # 14 labels of very different size, 1 to 8 images a patient: flooring in each lost a seventh.
    sizes = generator.integers(1, 9, 5000)
    ids = np.repeat([f"p{number}" for number in range(5000)], sizes)
    classes = generator.choice(14, 5000, p=np.arange(1, 15) / 105)
    rows, position = order_of(np.repeat(classes, sizes), ids, seed)
    for fraction in (0.01, 0.02, 0.05, 0.1, 0.37, 0.9):
        assert abs((position <= fraction).sum() - fraction * len(rows)) <= 4  # half a patient


@pytest.mark.parametrize("seed", range(5))
def test_no_other_patient_changes_the_order_within_a_stratum(seed):
    ids, targets = cohort(300, seed)
    more = np.concatenate([ids, [f"new{number}" for number in range(200)]])
    labels = np.concatenate([targets, np.arange(200) % 2])
    shuffled = np.random.default_rng(seed).permutation(len(more))
    before, after = (
        pd.DataFrame({"patient": who[rows], "class": what[rows], "position": position})
        for who, what in ((ids, targets), (more[shuffled], labels[shuffled]))
        for rows, position in [order_of(what, who, seed)]
    )
    after = after[after["patient"].isin(before["patient"])]
    for stratum in range(3):  # the rarest class of a patient is its lowest but for class 0
        orders = [
            table.groupby("patient").agg(top=("class", "max"), at=("position", "first"))
            for table in (before, after)
        ]
        first, second = (
            order[(order["top"] == stratum) & (order["at"] > 1e-300)].sort_values("at").index
            for order in orders
        )
        assert len(first) > 10
        both = set(first) & set(second)
        assert [name for name in first if name in both] == [name for name in second if name in both]


def test_label_fractions_are_nested_stratified_and_keep_patients_whole():
    ids, targets = cohort(4000)
    rows, position = order_of(targets, ids)
    assert position.min() > 0
    assert position.max() < 1
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
    split = assign_splits(ids)
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
