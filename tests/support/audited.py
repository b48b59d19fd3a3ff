"""Made-up chests in a folder, with labels, patients and splits, and the store of them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

import medstrata
from medstrata.data.store.store import Store
from medstrata.data.synthetic.chest import FAMILIES, draw_image

SIZE = 64


def write_images(folder: Path, patients: int = 30, images: int = 3) -> pd.DataFrame:
    """Made-up chests; even patients are healthy, and each fold has both classes."""
    rows = []
    (folder / "images").mkdir(parents=True)
    for patient in range(patients):
        for visit in range(images):
            pixels = draw_image(patient % len(FAMILIES), patient, visit, size=SIZE)
            name = f"{patient:02d}_{visit}.png"
            cv2.imwrite(str(folder / "images" / name), pixels)
            rows.append({"file": name, "patient_id": f"p{patient}", "finding": patient % 2})
    table = pd.DataFrame(rows)
    table["split"] = np.array(["train", "train", "val", "test"])[
        (table["patient_id"].str[1:].astype(int) // 2) % 4
    ]
    return table


def prepared(folder: Path, out: Path, *, allow_leakage: bool = False, **options: Any) -> Store:
    settings = medstrata.PrepareSettings(labels=folder / "labels.csv", **options)
    return medstrata.prepare(folder / "images", out, settings, allow_leakage=allow_leakage)
