"""A store small enough for every test that trains: 60 grey images of 20 patients, 32 px."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store

IMAGES, PATIENTS, SIZE = 60, 20, 32


def make_folder(folder: Path) -> Path:
    """Write images whose finding is the direction of their stripes, and labels.csv beside them."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = []
    ramp = np.arange(SIZE)
    for number in range(IMAGES):
        patient = number % PATIENTS
        finding = patient % 2
        stripes = 60 * np.sin(ramp * (0.5 + 0.05 * patient))
        image = 128 + (stripes[:, None] if finding else stripes[None, :])
        image = image + generator.normal(0, 20, (SIZE, SIZE))
        name = f"{number:03d}.png"
        cv2.imwrite(str(folder / "images" / name), np.clip(image, 0, 255).astype(np.uint8))
        rows.append(
            {
                "file": name,
                # Ids for which seed 0 draws every class into every split, of few patients.
                "patient_id": f"ug{patient}",
                "finding": finding,
                "grade": patient % 4,
            }
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


def make_store(folder: Path) -> Store:
    """Prepare `make_folder` with half of the patients in training."""
    make_folder(folder)
    return prepare(
        folder / "images",
        folder / "tiny.store",
        PrepareSettings(labels=folder / "labels.csv", split="0.5/0.25/0.25"),
    )
