"""A store holds its images, their rows and its tasks, and is the same when opened again."""

import numpy as np
import pandas as pd
import pytest

from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.resize import fit_square
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.splits import label_subset
from medstrata.data.store.open import open_store
from support.prepared import contents, read_grey


def test_store_holds_the_images(image_folder, store):
    assert (len(store), store.size, store.channels) == (48, 20, 1)
    assert sorted(contents(store.path)) == [
        "audit.json", "images-00000.npy", "manifest.parquet", "preview.png", "quarantine.csv",
        "store.json",
    ]  # fmt: skip
    for row, source in enumerate(store.manifest["source"]):
        square, _ = fit_square(read_grey(image_folder / source), 20, 1, "pad")
        np.testing.assert_array_equal(store[row], square)
    rows = np.array([47, 3, 3, 20])
    np.testing.assert_array_equal(store.read(rows), np.stack([store[row] for row in rows]))


def test_pixels_are_views_that_cannot_be_written(store):
    assert store[5].base is not None
    assert not store[5].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        store[5][0, 0] = 1


def test_tasks_of_a_real_store(store):
    task = make_task(store, "kind: a vs b+c")
    wanted = (store.manifest["label.kind"] != "a").astype(int)
    assert task.targets.tolist() == wanted.tolist()
    assert len(label_subset(task, store, 1.0, 0)) == 33


@pytest.mark.usefixtures("small_shards")
def test_reopened_store_is_the_same(image_folder, tmp_path):
    made = prepare(
        image_folder, tmp_path / "out", PrepareSettings(labels=image_folder / "labels.csv")
    )
    opened = open_store(str(tmp_path / "out"))
    assert max(path.name for path in made.path.glob("*.npy")) == "images-00004.npy"
    pd.testing.assert_frame_equal(opened.manifest, made.manifest)
    np.testing.assert_array_equal(opened.read(opened.rows()), made.read(made.rows()))
    assert opened.digest == made.digest
    assert opened.label_columns == made.label_columns
