"""A data set with a name: its facts in one place, its files in one table."""

from pathlib import Path

from medstrata.data.synthetic.chest import make_images

make_images(Path("clinic"), images=48, size=32)

# --8<-- [start:dataset]
import pandas as pd

from medstrata.data.datasets.columns import require_folder, text_table
from medstrata.data.datasets.dataset import Dataset


def index(root: Path) -> pd.DataFrame:
    """One row an image: where it is, whose it is, what is known of it."""
    require_folder(root)
    table = pd.read_csv(root / "labels.csv", dtype=str)
    return text_table(
        {"file": table["file"], "patient_id": table["patient_id"], "finding": table["finding"]}
    )


CLINIC = Dataset(
    name="clinic",
    title="Radiographs of our clinic",
    modality="chest X-ray",
    images=48,
    patients=12,
    labels={"finding": ("0", "1")},
    task="finding",
    licence="for use within the clinic",
    citation="none",
    url="https://clinic.example/archive",
    layout="images/<patient>/<number>.png and labels.csv",
    index=index,
)
# --8<-- [end:dataset]

# --8<-- [start:prepare]
from medstrata.data.datasets.registry import DATASETS

DATASETS[CLINIC.name] = CLINIC  # in the project itself: a line in data/datasets/registry.py

import medstrata as ms

store = ms.prepare("clinic", "clinic.store", ms.PrepareSettings(dataset="clinic", size=32))
print(ms.make_task(store, "finding").classes)
# --8<-- [end:prepare]
