"""Arrays of your own in an .npz file."""

import numpy as np
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.runtime.errors import MedstrataError


def test_your_own_arrays(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 30), ("val", 6), ("test", 8)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 20, 20), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count)[:, None] % 3
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays)
    store = prepare(path, tmp_path / "store", PrepareSettings(dataset="npz"))
    assert [len(store.rows(split)) for split in ("train", "val", "test")] == [30, 6, 8]
    np.testing.assert_array_equal(store[31][..., 0], arrays["val_images"][1])
    assert store.label_columns["label"].classes == ("0", "1", "2")
    np.savez(path, train_images=arrays["train_images"])
    unlabelled = prepare(path, tmp_path / "unlabelled", PrepareSettings(dataset="npz"))
    assert (len(unlabelled), unlabelled.label_columns) == (30, {})
    with pytest.raises(MedstrataError, match="--dataset npz"):
        prepare(path, tmp_path / "other")


@pytest.mark.parametrize("shape", [(12, 3, 20, 24), (12, 20, 24, 3), (12, 1, 20, 24)])
def test_channels_stand_first_or_last(tmp_path, shape):
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", train_images=images)
    settings = PrepareSettings(dataset="npz", fit="pad", size=24)
    store = prepare(tmp_path / "mine.npz", tmp_path / "store", settings)
    last = images if shape[-1] == 3 else np.moveaxis(images, 1, -1)
    np.testing.assert_array_equal(store.read(store.rows())[:, 2:22], last)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": (12, 9, 9), "y": (12,)}, "has X, y and no train_images; it must be one npz file"),
        ({"train_images": (12, 5, 9, 9)}, "array of shape (12, 5, 9, 9) and type float64 does not"),
        ({"train_images": (12, 9, 9), "train_labels": (7,)}, "has 7 labels for 12 train images"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, arrays, words):
    np.savez(tmp_path / "mine.npz", **{name: np.zeros(shape) for name, shape in arrays.items()})
    with pytest.raises(MedstrataError) as caught:
        prepare(tmp_path / "mine.npz", tmp_path / "store", PrepareSettings(dataset="npz"))
    assert words in str(caught.value)
    assert "medmnist" not in str(caught.value)


def test_labels_that_are_objects_are_said(tmp_path):
    labels = np.array([{"a": 1}] * 4, dtype=object)
    np.savez(tmp_path / "mine.npz", train_images=np.zeros((4, 9, 9)), train_labels=labels)
    with pytest.raises(MedstrataError, match=r"train_labels cannot be read \(Object arrays cannot"):
        prepare(tmp_path / "mine.npz", tmp_path / "store", PrepareSettings(dataset="npz"))
