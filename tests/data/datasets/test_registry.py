"""Known data sets on their way into a store."""

from pathlib import Path

import numpy as np
import pytest

from medstrata.cli.main import main
from medstrata.data.datasets.registry import DATASETS, find_dataset
from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.splits import assign_splits
from medstrata.data.store.store import Store
from medstrata.runtime.errors import MedstrataError
from support import dataset_trees as catalog_trees
from support.dataset_trees import TREES

# One of the twelve stands for the others, beside the one with several labels.
NAMES = [
    name for name in TREES if not name.startswith("medmnist") or name.endswith(("tmnist", "amnist"))
]


def prepared(name: str, folder: Path, **options) -> Store:
    (folder / "tree").mkdir()
    root = TREES[name](folder / "tree")
    return prepare(
        root,
        folder / "store",
        PrepareSettings(dataset=name, size=16, **options),
        allow_leakage=True,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_known_set_becomes_a_store(name, tmp_path):
    dataset = DATASETS[name]
    store = prepared(name, tmp_path)
    table = dataset.index(tmp_path / "tree")
    assert len(store) <= len(table)
    assert set(store.label_columns) == set(dataset.labels) or not dataset.labels
    task = make_task(store, dataset.task)
    assert (np.asarray(task.targets) >= 0).any()
    if "patient_id" in table:
        assert set(store.manifest["patient_id"]) <= set(table["patient_id"])
    assert (store.manifest.groupby("patient_id")["split"].nunique() == 1).all()
    # Of the few patients of these trees none is drawn to validate.
    drawn = name in ("nih-chestxray14", "breakhis")
    for split in ("train", "test") if drawn else ("train", "val", "test"):
        assert len(store.rows(split))


def test_pixels_of_containers_are_those_of_their_rows(tmp_path):
    store = prepared("medmnist/pathmnist", tmp_path, fit="pad")
    (path,) = (tmp_path / "tree").glob("*.npz")
    with np.load(path) as arrays:
        for row, source in enumerate(store.manifest["source"]):
            name, _, frame = source.rpartition("#")
            array = name.partition("/")[2]
            wanted = arrays[array][int(frame)]
            if wanted.shape[0] == store.size:
                np.testing.assert_array_equal(store[row], wanted)
            assert store.manifest["split"].iloc[row] == array.partition("_")[0]


def test_uncertain_labels_follow_the_policy(tmp_path):
    raw = DATASETS["chexpert"].index(TREES["chexpert"](tmp_path))["Edema"]
    kept = {}
    for policy in ("unknown", "negative", "positive"):
        store = prepare(
            tmp_path,
            tmp_path.with_name(f"{policy}.store"),
            PrepareSettings(dataset="chexpert", size=16, uncertain=policy),
            allow_leakage=True,
        )
        kept[policy] = store.manifest["label.Edema"].value_counts(dropna=False).to_dict()
        assert store.label_columns["Edema"].kind == "binary"
    uncertain = int((raw == "-1").sum())
    assert uncertain > 0
    assert kept["negative"][0] - kept["unknown"][0] == uncertain
    assert kept["positive"][1] - kept["unknown"][1] == uncertain


def test_ready_made_and_drawn_splits(tmp_path):
    root = catalog_trees.nih(tmp_path / "nih")
    official = prepare(root, tmp_path / "a", PrepareSettings(dataset="nih-chestxray14", size=16))
    paper = prepare(
        root, tmp_path / "b", PrepareSettings(dataset="nih-chestxray14", size=16, split="paper")
    )
    drawn = prepare(
        root,
        tmp_path / "c",
        PrepareSettings(dataset="nih-chestxray14", size=16, split="0.5/0.2/0.3"),
    )
    assert len(official.rows("test")) == 10
    assert [len(paper.rows(split)) for split in ("train", "val", "test")] == [24, 4, 12]
    expected = assign_splits(drawn.patient_ids, (0.5, 0.2, 0.3), seed=0)
    assert (drawn.manifest["split"] == expected).all()
    with pytest.raises(MedstrataError, match=r"no split 'papers'.*official"):
        prepare(root, tmp_path / "d", PrepareSettings(dataset="nih-chestxray14", split="papers"))
    with pytest.raises(MedstrataError, match="did you mean nih-chestxray14"):
        prepare(root, tmp_path / "d", PrepareSettings(dataset="nih-chestxray"))


_CLINIC = """
import pandas as pd
from medstrata.data.datasets.columns import text_table
from medstrata.data.datasets.dataset import Dataset

def index(root):
    table = pd.read_csv(root / "labels.csv", dtype=str)
    return text_table({name: table[name] for name in ("file", "patient_id", "finding")})

CLINIC = Dataset(
    name="clinic", title="Ours", modality="any", images=48, patients=16,
    labels={"finding": ("0", "1")}, task="finding", licence="ours", citation="none",
    url="https://clinic.example", layout="labels.csv", index=index,
)
FACTS = {"name": "clinic"}
"""


def test_a_data_set_of_another_package(image_folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "ourclinic").mkdir()
    (tmp_path / "ourclinic" / "__init__.py").touch()
    (tmp_path / "ourclinic" / "images.py").write_text(_CLINIC)
    (tmp_path / "ourclinic" / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "ourclinic.images:CLINIC"
    store = prepare(image_folder, tmp_path / "s", PrepareSettings(dataset=name, size=16))
    assert (len(store), len(np.unique(store.patient_ids))) == (48, 16)
    assert store.plan["dataset"] == name
    main(["datasets", "check", name, str(image_folder)])
    assert "clinic" in capsys.readouterr().out
    for wrong, message in {
        "ourclinic.images:FACTS": r"is a dict: it must be a .*Dataset",
        "ourclinic.images:NONE": "has no NONE",
        "ourclinics.images:CLINIC": "no module ourclinics",
        "ourclinic.broken:CLINIC": "ZeroDivisionError",
    }.items():
        with pytest.raises(MedstrataError, match=f"data set {wrong}.*{message}"):
            find_dataset(wrong)
