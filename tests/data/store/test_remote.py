"""Stores in object storage, against a real S3 server on loopback."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medstrata.cli.main import main
from medstrata.data.loader import Batch, Loader
from medstrata.data.store import remote
from medstrata.data.store.open import open_store
from medstrata.data.store.push import push
from medstrata.data.store.remote import Remote
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.models.encoders import load_encoder
from medstrata.models.features import extract_features
from medstrata.models.preprocessing import identity
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result
from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.errors import MedstrataError
from support.object_storage import KEYS, S3
from support.runs import assert_equal_states, final_state, without_times
from support.sharded import cut
from support.training_worker import train
from support.waiting import PATIENCE_S, started, wait_until

WORKER = Path(__file__).parents[2] / "support" / "training_worker.py"
ROWS = 4  # a shard: 15 shards of 60 images, 8 of them in training
SHARD = ROWS * 32 * 32 + 128
ADDRESS = "s3://bucket/stores/tiny.store"


@pytest.fixture(scope="module")
def local(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return cut(tiny_store, tmp_path_factory.mktemp("sharded"), ROWS)


@pytest.fixture(scope="module")
def server(local: Store) -> Iterator[S3]:
    with S3().running() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        running.client().create_bucket(Bucket="bucket")
        push(local.path, ADDRESS)
        yield running


@pytest.fixture
def s3(server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server, with an empty cache."""
    monkeypatch.setenv("MEDSTRATA_CACHE", str(tmp_path / "cache"))
    server.seen.clear()
    yield server
    server.fails = lambda _method, _path: False


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RETRIES", 2)
    monkeypatch.setattr(remote, "_RETRY_TIMEOUT", timedelta(seconds=5))


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


def test_a_pushed_store_is_the_same_store(s3: S3, local: Store) -> None:
    streamed = open_store(ADDRESS)
    assert not s3.fetched()
    np.testing.assert_array_equal(streamed.read(streamed.rows()), local.read(local.rows()))
    assert streamed.manifest.equals(local.manifest)
    assert (streamed.digest, streamed.path.name) == (local.digest, local.path.name)
    assert sorted(s3.fetched()) == [f"images-{n:05d}.npy" for n in range(15)]


@pytest.mark.usefixtures("impatient")
def test_an_interrupted_push_cannot_be_opened_and_goes_on(s3: S3, local: Store) -> None:
    address = "s3://bucket/interrupted/tiny.store"
    s3.fails = lambda method, path: method == "PUT" and path.endswith("images-00007.npy")
    with pytest.raises(MedstrataError, match=r"images-00007\.npy could not be written"):
        push(local.path, address)
    with pytest.raises(MedstrataError, match="is not a store: put one there with `medstrata push"):
        open_store(address)
    s3.fails = lambda _method, _path: False
    s3.seen.clear()
    push(local.path, address)
    put = [path.rpartition("/")[2] for method, path in s3.seen if method == "PUT"]
    assert "images-00006.npy" not in put
    assert "images-00007.npy" in put
    assert put[-1] == "store.json"
    assert len(open_store(address)) == len(local)


@pytest.mark.usefixtures("s3")
def test_another_store_is_not_replaced_unasked(local: Store, tmp_path: Path) -> None:
    """The other store's files have the same names and sizes."""
    address = "s3://bucket/replaced/tiny.store"
    push(local.path, address)
    other = shutil.copytree(local.path, tmp_path / "other.store")
    header = (other / "store.json").read_text().replace(local.digest, "another")
    (other / "store.json").write_text(header)
    for shard in other.glob("images-*.npy"):
        np.save(shard, 255 - np.load(shard))
    with pytest.raises(MedstrataError, match="holds another store: give --overwrite"):
        push(other, address)
    push(other, address, overwrite=True)
    np.testing.assert_array_equal(open_store(address)[5], 255 - local[5])


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


def test_failing_requests_are_repeated(s3: S3, local: Store) -> None:
    left = {"failures": 12}

    def now_and_then(method: str, path: str) -> bool:
        failing = method == "GET" and path.endswith(".npy") and left["failures"] > 0
        left["failures"] -= failing
        return failing and left["failures"] % 2 == 0

    s3.fails = now_and_then
    assert_same_batches(list(loader(local).epoch(0)), list(loader(open_store(ADDRESS)).epoch(0)))
    assert left["failures"] == 0


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_away_is_one_clear_line(
    s3: S3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.fails = lambda method, path: method == "GET" and path.endswith(".npy")
    with pytest.raises(SystemExit) as left:
        main(["pretrain", ADDRESS, "--out", str(tmp_path / "run"), *TINY_RUN])
    assert left.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert "could not be fetched" in lines[-1]
    assert f"{ADDRESS}/images-" in lines[-1]
    assert "with --resume for a run" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_a_missing_shard_is_named(s3: S3, local: Store) -> None:
    address = "s3://bucket/missing/tiny.store"
    push(local.path, address)
    key = "missing/tiny.store/images-00002.npy"
    s3.client().delete_object(Bucket="bucket", Key=key)
    streamed = open_store(address)
    with pytest.raises(MedstrataError, match=r"images-00002\.npy is missing: put the store"):
        list(loader(streamed).epoch(0))


def test_a_shard_cut_short_is_never_read(s3: S3, local: Store) -> None:
    address = "s3://bucket/short/tiny.store"
    push(local.path, address)
    s3.client().put_object(
        Bucket="bucket", Key="short/tiny.store/images-00000.npy", Body=b"\x93NUM"
    )
    with pytest.raises(MedstrataError, match=r"images-00000\.npy has 4 bytes"):
        open_store(address)[0]


def test_without_the_extra_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MedstrataError, match=r"pip install 'medstrata\[streaming\]'"):
        open_store(ADDRESS)


@pytest.mark.usefixtures("s3")
def test_a_far_folder_is_an_address_too(local: Store, tmp_path: Path) -> None:
    push(local.path, f"file://{tmp_path}/far/tiny.store")
    far = open_store(f"file://{tmp_path}/far/tiny.store")
    assert_same_batches(list(loader(local).epoch(0)), list(loader(far).epoch(0)))


TINY_RUN = [
    *("--backbone", "resnet10t", "--epochs", "1", "--batch_size", "8"),
    *("--contrastive.queue_size", "20", "--contrastive.key_sub_batches", "2"),
]


@pytest.mark.usefixtures("s3")
def test_a_streamed_run_killed_and_resumed_equals_a_local_one(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of an epoch; it goes on with an empty cache."""
    limit(monkeypatch, 6)
    unbroken, out = tmp_path / "local", tmp_path / "run"
    command = [sys.executable, str(WORKER), str(out), ADDRESS, "resnet10t", "fp32", "2", "record:6"]
    ran = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ran.returncode == -signal.SIGKILL
    assert read_result(out) is None
    shutil.rmtree(cache_folder())
    train(out, ADDRESS, precision="fp32", shards=2)
    train(unbroken, local.path, precision="fp32", shards=2)
    assert_equal_states(final_state(unbroken), final_state(out))
    assert without_times(unbroken) == without_times(out)
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert KEYS["AWS_SECRET_ACCESS_KEY"].encode() not in written


def test_features_read_each_shard_once(
    s3: S3, local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 3)
    encoder = load_encoder(
        EncoderSpec("scratch"),
        backbone="resnet10t",
        image_size=32,
        channels=1,
        store_stats=((0.5,), (0.2,)),
    )
    device = torch.device("cpu")
    streamed, kept = (
        extract_features(encoder.backbone, store, store.rows(), identity(32, 1), device)
        for store in (open_store(ADDRESS), local)
    )
    np.testing.assert_array_equal(streamed.pooled, kept.pooled)
    assert len(s3.fetched()) == 15


@pytest.mark.usefixtures("s3")
def test_finetuning_on_a_remote_store(local: Store, tmp_path: Path) -> None:
    settings = FinetuneSettings(epochs=1, min_steps=1, resamples=10, shuffle_shards=2)
    results = []
    for name, store in (("local", local), ("streamed", open_store(ADDRESS))):
        out = tmp_path / name
        finetune("scratch", store, "finding", 1.0, out, settings, backbone="resnet10t")
        results.append(read_result(out))
    first, second = results
    assert first is not None
    assert second is not None
    assert first["test"] == second["test"]
