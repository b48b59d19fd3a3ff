"""A sharded store on a real S3 server on loopback."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from medstrata.data.store import remote
from medstrata.data.store.push import push
from medstrata.data.store.store import Store
from support.object_storage import S3
from support.sharded import cut
from support.streamed import ADDRESS, ROWS


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
