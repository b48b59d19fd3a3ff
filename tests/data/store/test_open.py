"""What is no whole store is refused, each with its reason."""

import json
import os

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
