"""Stores are put into object storage, whole or not at all."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from medstrata.cli.main import main
from medstrata.data.store.open import open_store
from medstrata.data.store.push import push
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support.object_storage import S3
from support.resealed import reseal
from support.streamed import assert_same_batches, loader


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
    reseal(other)
    for shard in other.glob("images-*.npy"):
        np.save(shard, 255 - np.load(shard))
    with pytest.raises(MedstrataError, match="holds another store: give --overwrite"):
        push(other, address)
    push(other, address, overwrite=True)
    np.testing.assert_array_equal(open_store(address)[5], 255 - local[5])


@pytest.mark.usefixtures("s3")
def test_a_far_folder_is_an_address_too(local: Store, tmp_path: Path) -> None:
    push(local.path, f"file://{tmp_path}/far/tiny.store")
    far = open_store(f"file://{tmp_path}/far/tiny.store")
    assert_same_batches(list(loader(local).epoch(0)), list(loader(far).epoch(0)))


@pytest.mark.parametrize("start", ["file://{}/far", "s3://bucket/far"])
@pytest.mark.usefixtures("s3")
def test_a_place_is_named_as_it_is_written(
    local: Store, tmp_path: Path, start: str, s3: S3
) -> None:
    name = "a b/100 % é#1?x=2+%20&y.store"
    address = f"{start.format(tmp_path)}/{name}"
    push(local.path, address)
    assert open_store(address).digest == local.digest
    if address.startswith("file:"):
        assert (tmp_path / "far" / name / "store.json").is_file()
    else:
        listed = s3.client().list_objects_v2(Bucket="bucket", Prefix="far/")["Contents"]
        assert f"far/{name}/store.json" in {one["Key"] for one in listed}
    main(["audit", address])
