"""Shards are fetched ahead, once, and into no more room than they may take."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from medstrata.data.store.open import open_store
from medstrata.data.store.push import push
from medstrata.data.store.remote import Remote
from medstrata.data.store.store import Store
from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.errors import MedstrataError
from support.object_storage import S3
from support.streamed import ADDRESS, ROWS, assert_same_batches, limit, loader
from support.waiting import PATIENCE_S, started, wait_until

SHARD = ROWS * 32 * 32 + 128  # bytes of its file


@pytest.mark.usefixtures("s3")
def test_streamed_batches_equal_local_ones_and_the_cache_stays_small(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, download, found = limit(monkeypatch, 5), Remote.download, [0]

    def download_and_weigh(*given: Any) -> None:
        download(*given)
        found.append(sum(path.stat().st_size for path in cache_folder().rglob("*images-*")))

    monkeypatch.setattr(Remote, "download", download_and_weigh)
    streamed = open_store(ADDRESS)
    for epoch in (0, 1):
        expected = list(loader(local).epoch(epoch))
        assert_same_batches(expected, list(loader(streamed).epoch(epoch)))
    assert_same_batches(
        list(loader(local).epoch(2, first_step=7)),
        list(loader(streamed).epoch(2, first_step=7)),
    )
    assert 3 * SHARD <= max(found) <= most


def test_each_shard_is_fetched_about_once_an_epoch(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 6)
    list(loader(open_store(ADDRESS)).epoch(0))
    assert len(set(s3.fetched())) == 15
    assert len(s3.fetched()) <= 18  # those at the ends of the ring are read twice


READER = """
import sys
import numpy as np
from medstrata.data.store.open import open_store
far, near = map(open_store, sys.argv[1:3])
for seed in range(1):
    rows = np.random.default_rng(seed).permutation(len(near))
    far.expect(rows)
    assert np.array_equal(far.read(rows), near.read(rows))
"""


def test_two_processes_share_a_small_cache(
    s3: S3, local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each evicts what the other has just fetched, and ends while it fetches ahead."""
    most = limit(monkeypatch, 3)
    command = [sys.executable, "-c", READER, ADDRESS, str(local.path)]
    with (
        started(command, stderr=subprocess.PIPE) as first,
        started(command, stderr=subprocess.PIPE) as second,
    ):
        for reader in (first, second):
            assert reader.communicate(timeout=PATIENCE_S)[1] == b""
            assert reader.returncode == 0
    assert len(s3.fetched()) > 15
    left = [path for path in cache_folder().rglob("*images-*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= most
    assert not [path for path in left if path.suffix == ".tmp"]


def test_expected_shards_are_fetched_before_they_are_read(s3: S3, local: Store) -> None:
    push(local.path, "s3://bucket/expected/tiny.store")
    streamed = open_store("s3://bucket/expected/tiny.store")
    streamed.expect(np.array([41, 40, 3]))
    wait_until(lambda: len(list(streamed.path.glob("images-*.npy"))) == 2)
    streamed[40]
    got = [path for method, path in s3.seen if method == "GET" and "/expected/" in path]
    assert got[-2:] == [f"/bucket/expected/tiny.store/images-{n:05d}.npy" for n in (10, 0)]


@pytest.mark.usefixtures("s3")
def test_a_cache_that_cannot_hold_the_window_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 6)
    with pytest.raises(MedstrataError, match=r"does not hold 4 shards of .* MEDSTRATA_CACHE_GB"):
        loader(open_store(ADDRESS), shuffle_shards=4)
    monkeypatch.setenv("MEDSTRATA_CACHE_GB", "much")
    with pytest.raises(MedstrataError, match="MEDSTRATA_CACHE_GB is 'much': give a number"):
        open_store(ADDRESS)
