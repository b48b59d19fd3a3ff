"""Batches of a store in object storage, and the room that its shards may take."""

import pytest
import torch

from medstrata.data.loader import Batch, Loader
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2

ROWS = 4  # a shard: 15 shards of 60 images, 8 of them in training
ADDRESS = "s3://bucket/stores/tiny.store"


def limit(monkeypatch: pytest.MonkeyPatch, shards: int) -> int:
    """Set the cache to hold so many shards; returns its bytes."""
    size = shards * (ROWS * 32 * 32 + 4096)
    monkeypatch.setenv("MEDSTRATA_CACHE_GB", str(size / 1e9))
    return size


def loader(store: Store, shuffle_shards: int | None = 2) -> Loader:
    return Loader(
        store=store,
        rows=store.rows(None),
        settings=moco_v2(0),
        batch_size=4,
        views=2,
        seed=3,
        device=torch.device("cpu"),
        shuffle_shards=shuffle_shards,
    )


def assert_same_batches(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
