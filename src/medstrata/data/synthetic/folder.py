"""Writes a made-up set of images: the pictures, their labels and a README that says what it is."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.runtime.harmless import csv_lines

_README = """\
Synthetic images
================
These {images} images of {patients} patients were made by a program (seed {seed}).
No patient, scanner or physician had a part in them, and results on them say
nothing about medicine: they show that the software runs.

labels.csv   file        path of the image, relative to this folder
             patient_id  made-up patient
             finding     0 or 1

"""


def require_numbers(*, images: int, images_per_patient: int, size: int) -> None:
    """Refuse a set of no images, or of images too small for their structures.

    Raises:
        MedstrataError: A number is out of its range.
    """
    for name, value, least in (
        ("images", images, 1),
        ("images_per_patient", images_per_patient, 1),
        ("size", size, 32),
    ):
        if value < least:
            raise MedstrataError(f"synthetic images: {name} is {value}; give {least} or more")


def write_images(
    folder: Path,
    kinds: NDArray[np.int64],
    images_per_patient: int,
    *,
    seed: int,
    draw: Callable[[int, int, int], NDArray[np.uint8]],
    finding: Callable[[int], int],
    about: str,
) -> Path:
    """Write a set, or what an interrupted call with equal arguments left of it.

    Args:
        folder: Receives `images/<patient>/<number>.png`, `labels.csv` with the columns file
            (relative to the folder), patient_id and finding, and `README.txt`.
        kinds: Kind of each image, shape (N,); the first images are the first patient's.
        images_per_patient: The last patient has what is left.
        seed: For the README.
        draw: Kind, patient and visit -> pixels, grey (H, W) or RGB (H, W, 3).
        finding: Kind -> 0 or 1.
        about: What the finding is, for the README.

    Returns:
        Path of `labels.csv`, which is written last.

    Raises:
        MedstrataError: The folder has a `labels.csv`.
    """
    labels = folder / "labels.csv"
    if labels.exists():
        raise MedstrataError(f"{labels} exists: remove its folder or name another one")
    rows = []
    for number, kind in enumerate(kinds.tolist()):
        patient, visit = divmod(number, images_per_patient)
        name = f"patient{patient:04d}"
        file = folder / "images" / name / f"{visit:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw(kind, patient, visit)
        # OpenCV takes blue first, and writes no paths beyond ASCII on Windows: it only encodes.
        blue_first = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        file.write_bytes(cv2.imencode(".png", blue_first)[1].tobytes())
        rows.append((file.relative_to(folder).as_posix(), name, finding(kind)))
    patients = len({patient_id for _, patient_id, _ in rows})
    readme = _README.format(images=len(rows), patients=patients, seed=seed) + about
    (folder / "README.txt").write_text(readme, encoding="utf-8")
    write_text(labels, csv_lines([("file", "patient_id", "finding"), *rows]))
    return labels
