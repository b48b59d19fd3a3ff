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
    with pytest.raises(MedstrataError, match="train_labels"):
        prepare(path, tmp_path / "other", PrepareSettings(dataset="npz"))
    with pytest.raises(MedstrataError, match="--dataset npz"):
        prepare(path, tmp_path / "other")
