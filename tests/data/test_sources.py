"""Images are found, named and read one by one, whatever holds them."""

import os
from pathlib import Path

import pandas as pd
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import clean_name
from medstrata.runtime.errors import MedstrataError


def test_clean_names():
    assert clean_name(" ./a\\b/../c.png", Path("/data")) == "a/c.png"
    assert clean_name("/data/x/c.png", Path("/data")) == "x/c.png"
    assert clean_name("/other/c.png", Path("/data")) == "/other/c.png"
    assert clean_name("a/../../c.png", Path("/data")) == "../c.png"


def test_store_inside_the_source_is_not_read(image_folder):
    first = prepare(image_folder, image_folder / "store")
    assert len(prepare(image_folder, image_folder / "store")) == len(first) == 48
    assert len(prepare(image_folder, image_folder / "store2", PrepareSettings(size=8))) == 48


def test_folder_that_cannot_be_listed(image_folder, tmp_path, monkeypatch):
    scan, locked = os.scandir, "site1"

    def guarded(path):
        if str(path).endswith(locked):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    store = prepare(image_folder, tmp_path / "out")
    assert 0 < len(store) < 48
    table = pd.read_csv(store.path / "quarantine.csv")
    assert table.to_numpy().tolist() == [
        ["images/site1", "folder that cannot be listed: Permission denied"]
    ]
    locked = image_folder.name
    with pytest.raises(MedstrataError, match=r"cannot be listed \(Permission denied\)"):
        prepare(image_folder, tmp_path / "other")
