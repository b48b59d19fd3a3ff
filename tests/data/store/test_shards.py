"""Shards are read alike however few are kept open."""

import numpy as np
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.store import shards
from support.prepared import read_grey


@pytest.mark.usefixtures("small_shards")
def test_more_shards_than_are_kept_open(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_OPEN_SHARDS", 2)
    store = prepare(image_folder, tmp_path / "out")
    rows = np.random.default_rng(0).permutation(48)
    again = store.read(rows)
    for row, pixels in zip(rows, again, strict=True):
        source = image_folder / store.manifest["source"][row]
        np.testing.assert_array_equal(pixels[2:18, :, 0], read_grey(source))
