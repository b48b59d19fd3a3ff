"""Stores in object storage, against a real S3 server on loopback."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medstrata.cli.main import main
from medstrata.data.store.open import open_store
from medstrata.data.store.push import push
from medstrata.data.store.store import Store
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
from support.streamed import ADDRESS, assert_same_batches, limit, loader
from support.training_worker import train

WORKER = Path(__file__).parents[2] / "support" / "training_worker.py"


def test_a_pushed_store_is_the_same_store(s3: S3, local: Store) -> None:
    streamed = open_store(ADDRESS)
    assert not s3.fetched()
    np.testing.assert_array_equal(streamed.read(streamed.rows()), local.read(local.rows()))
    assert streamed.manifest.equals(local.manifest)
    assert (streamed.digest, streamed.path.name) == (local.digest, local.path.name)
    assert sorted(s3.fetched()) == [f"images-{n:05d}.npy" for n in range(15)]


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


TINY_RUN = [
    *("--backbone", "test_resnet", "--epochs", "1", "--batch_size", "8"),
    *("--contrastive.queue_size", "20"),
]


@pytest.mark.usefixtures("s3")
def test_a_streamed_run_killed_and_resumed_equals_a_local_one(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL in the middle of an epoch; it goes on with an empty cache."""
    limit(monkeypatch, 6)
    unbroken, out = tmp_path / "local", tmp_path / "run"
    command = [
        sys.executable,
        str(WORKER),
        str(out),
        ADDRESS,
        "test_resnet",
        "fp32",
        "2",
        "record:6",
    ]
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
        backbone="test_resnet",
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
        finetune("scratch", store, "finding", 1.0, out, settings, backbone="test_resnet")
        results.append(read_result(out))
    first, second = results
    assert first is not None
    assert second is not None
    assert first["test"] == second["test"]
