"""What a store says of its images: rows, statistics, splits."""

import cv2
import numpy as np
import pandas as pd

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare import shards
from medstrata.data.prepare.manifest import channel_statistics
from medstrata.data.prepare.prepare import prepare


def test_manifest(store):
    manifest = store.manifest
    assert list(manifest.columns) == [
        "sample_id", "patient_id", "site", "split", "source", "width", "height", "source_channels",
        "format", "mode", "conversion", "file_hash", "pixel_checksum", "fingerprint", "dark_share",
        "bright_share", "contrast", "shard", "shard_row", "label.finding", "label.grade",
        "label.kind",
    ]  # fmt: skip
    first = manifest.iloc[0]
    assert (first["sample_id"], first["source"]) == ("images/site0/000", "images/site0/000.png")
    assert (first["width"], first["height"], first["format"]) == (20, 16, "PNG")
    assert manifest["sample_id"].is_unique
    assert manifest["patient_id"].iloc[3] == "002"  # leading zeros stay
    assert manifest["label.finding"].dtype.kind == "i" or manifest["label.finding"].dtype == "Int64"
    kinds = {name: column.kind for name, column in store.label_columns.items()}
    assert kinds == {"finding": "binary", "grade": "ordinal", "kind": "multiclass"}


def test_statistics_are_those_of_the_train_pixels(store):
    pixels = store.read(store.rows("train")) / 255
    np.testing.assert_allclose(store.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(store.std, [pixels.std()], rtol=1e-12)


def test_statistics_of_colour(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(20):
        pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
    store = prepare(tmp_path / "images", tmp_path / "out")
    pixels = store.read(store.rows("train")) / 255
    assert store.channels == 3
    np.testing.assert_allclose(store.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(store.std, pixels.std((0, 1, 2)), rtol=1e-12)


def test_statistics_by_hand():
    parts = pd.DataFrame({"sum0": [255 * 64, 0, 9], "squares0": [255**2 * 64, 0, 9]})
    form = shards.StoreFormat(8, 1, "pad", ReadSettings())
    mean, std = channel_statistics(parts, np.array([True, True, False]), form)
    assert (mean, std) == ([0.5], [0.5])


def test_splits_are_by_patient(store):
    table = store.manifest
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert [len(store.rows(name)) for name in ("train", "val", "test")] == [33, 6, 9]
    assert sorted(np.concatenate([store.rows(s) for s in ("train", "val", "test")])) == list(
        range(48)
    )
    np.testing.assert_array_equal(store.rows(), np.arange(48))
    assert (table["split"].to_numpy()[store.rows("val")] == "val").all()
    assert store.patient_ids[3] == "002"


def test_store_json_names_no_path(store, tmp_path):
    assert str(tmp_path) not in (store.path / "store.json").read_text()
