"""What is no whole store is refused, each with its reason."""

import json
import os

import numpy as np
import pytest

from medstrata.data.store.open import open_store
from medstrata.runtime.errors import MedstrataError


def test_opening_what_is_no_store(store, tmp_path):
    with pytest.raises(MedstrataError, match="is not a store: make one with"):
        open_store(tmp_path)
    shard = store.path / "images-00000.npy"
    os.truncate(shard, 4000)
    with pytest.raises(MedstrataError, match=r"images-00000\.npy is missing or cut short"):
        open_store(store.path)
    shard.unlink()
    with pytest.raises(MedstrataError, match="missing or cut short"):
        open_store(store.path)
    header = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(MedstrataError, match="store format 99, this version reads 2"):
        open_store(store.path)
    (store.path / "store.json").write_text("{")
    with pytest.raises(MedstrataError, match=r"is damaged \(JSONDecodeError"):
        open_store(store.path)


def swapped_splits(store):
    table = store.manifest.copy()
    table["split"] = table["split"].map({"train": "test", "test": "train", "val": "val"})
    table.to_parquet(store.path / "manifest.parquet", index=False)


def inverted_labels(store):
    table = store.manifest.copy()
    table["label.finding"] = table["label.finding"].map({"0": "1", "1": "0"})
    table.to_parquet(store.path / "manifest.parquet", index=False)


def another_mean(store):
    header = json.loads((store.path / "store.json").read_text())
    (store.path / "store.json").write_text(json.dumps(header | {"mean": [0.9]}))


@pytest.mark.parametrize("change", [swapped_splits, inverted_labels, another_mean])
def test_a_store_that_was_changed_is_refused(store, change):
    change(store)
    with pytest.raises(MedstrataError, match=r"is damaged \(store.json or manifest.parquet is not"):
        open_store(store.path)


def test_a_store_nested_without_end_is_refused(store):
    (store.path / "store.json").write_text("[" * 100_000)
    with pytest.raises(MedstrataError, match="is damaged"):
        open_store(store.path)


def test_a_shard_that_is_cut_while_it_is_read_is_an_error(store):
    assert store[0].any()
    os.truncate(store.path / "images-00000.npy", 200)
    with pytest.raises(MedstrataError, match=r"images-00000\.npy is cut short or damaged"):
        store.read(np.arange(len(store)))


def test_a_shard_that_lacks_a_byte_is_named(store):
    shard = store.path / "images-00000.npy"
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(MedstrataError, match=r"images-00000\.npy is cut short or damaged"):
        open_store(store.path)[0]
