"""The real sets, where they are at hand: counts, patients, tasks."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.splits import label_subset

PLACE = Path(os.environ.get("MEDSTRATA_DATA", Path(__file__).parents[4] / "shared" / "data"))

pytestmark = pytest.mark.slow


def unpacked(name: str, folder: Path) -> Path:
    if (PLACE / name / "labels.csv").is_file():
        return PLACE / name
    if not (PLACE / f"{name}.tar").is_file():
        pytest.skip(f"no {name} in {PLACE}; set MEDSTRATA_DATA")
    with tarfile.open(PLACE / f"{name}.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.mark.parametrize(
    ("name", "channels", "images", "patients", "tasks"),
    [
        (
            "cxr_kermany", 1, 5824, 4096,
            {
                "subtype: virus vs bacteria": ("binary", [1579, 1485, 2760]),
                "label": ("binary", [0, 1579, 4245]),
            },
        ),
        (
            "histo_prostate_gleason", 3, 5956, 123,
            {
                "label": ("binary", [0, 3727, 2229]),
                "gleason_class": ("ordinal", [0, 3727, 1653, 576]),
                "label_name: benign_or_stroma vs gleason3+gleason4": ("binary", [0, 3727, 2229]),
            },
        ),
        (
            "fundus_odir", 3, 6388, 3351,
            {
                "label": ("binary", [1800, 2871, 1717]),
                "dr_grade": ("ordinal", [1847, 2871, 538, 946, 157, 29]),
            },
        ),
    ],
)  # fmt: skip
def test_real_set(tmp_path, name, channels, images, patients, tasks):
    data = unpacked(name, tmp_path)
    settings = PrepareSettings(labels=data / "labels.csv", size=64, split="fold:test=0,val=1")
    store = prepare(data / "images", tmp_path / "store", settings)
    assert (len(store), store.channels) == (images, channels)
    assert len(np.unique(store.patient_ids)) == patients
    for spec, (kind, counts) in tasks.items():
        task = make_task(store, spec)
        assert task.kind == kind
        assert np.bincount(task.targets + 1).tolist() == counts
        few, many = (label_subset(task, store, fraction, 0) for fraction in (0.01, 0.1))
        assert set(task.targets[few]) == set(range(len(counts) - 1))
        assert set(few) < set(many) < set(store.rows("train"))
