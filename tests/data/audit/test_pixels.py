"""Pixels that changed on the disk are found, and not audited as if they were the images."""

import shutil
from pathlib import Path

import pytest

from medstrata.data.audit.audit import audit
from medstrata.data.audit.pixels import changed_images
from medstrata.data.prepare import prepare
from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support.audited import write_images


@pytest.fixture
def copied(tiny_store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store.path, tmp_path / "copied.store"))


def test_one_bit_of_one_image_is_found_and_named(copied: Path) -> None:
    store = open_store(copied)
    assert changed_images(store, store.rows()) == []
    shard = copied / "images-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    before = (copied / "audit.json").read_bytes()
    changed = open_store(copied)
    last = changed.manifest["sample_id"].iloc[-1]
    assert changed_images(changed, changed.rows()) == [last]
    assert changed_images(changed, changed.rows()[:-1]) == []
    with pytest.raises(MedstrataError, match=rf"1 of 60 images are not what was .*\({last}\)"):
        audit(changed)
    assert (copied / "audit.json").read_bytes() == before


def test_what_was_written_a_moment_ago_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "data", patients=6)
    monkeypatch.setattr(
        "medstrata.data.audit.audit.require_unchanged", lambda _: pytest.fail("read")
    )
    prepare.prepare(tmp_path / "data" / "images", tmp_path / "s.store")
