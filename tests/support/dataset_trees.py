"""Tiny trees in the layouts of known data sets: their names and tables, and noise for images."""

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from medstrata.data.datasets import chexpert, mimic_cxr_jpg, nih_chestxray14
from medstrata.data.datasets.registry import DATASETS


def noise(number: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def write_image(path: Path, number: int, *, grey: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(number, 12, 16) if grey else noise(number, 12, 16, 3)).save(path)


def nih(root: Path, *, archives: bool = False) -> Path:
    """20 patients of two images; image k has findings k and k + 1 (of 14), every fifth has none."""
    rows, names = [], []
    for number in range(40):
        patient = number // 2 + 1
        name = f"{patient:08d}_{number % 2:03d}.png"
        one, two = (nih_chestxray14.FINDINGS[(number + step) % 14] for step in (0, 1))
        findings = "No Finding" if number % 5 == 4 else f"{one}|{two}"
        rows.append(f"{name},{findings},{number % 2},{patient},058Y,M,PA,2682,2749,0.143,0.143,")
        names.append(name)
        folder = f"images_{1 + number // 20:03d}/images" if archives else "images"
        write_image(root / folder / name, number, grey=True)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    )
    (root / "Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:30]))
    (root / "test_list.txt").write_text("\n".join(names[30:]))
    (root / "labels").mkdir()
    for part, chosen in {"train": names[:24], "val": names[24:28], "test": names[28:]}.items():
        lines = [f"{name} {' '.join(['0'] * 14)}" for name in chosen]
        (root / "labels" / f"{part}_list.txt").write_text("\n".join(lines) + "\n")
    return root


def chexpert_small(root: Path, *, test: bool = False) -> Path:
    """16 patients to train on and 6 to test on, of two views each; marks go round."""
    folder = root / "CheXpert-v1.0-small"
    number = 0
    parts = {"train": range(1, 17), "valid": range(64541, 64547)}
    if test:
        parts["test"] = range(64741, 64745)
    for part, patients in parts.items():
        rows = []
        for patient in patients:
            for view in ("view1_frontal", "view2_lateral"):
                name = f"{part}/patient{patient:05d}/study1/{view}.jpg"
                marks = ("1.0", "0.0", "", "-1.0") if part == "train" else ("1.0", "0.0")
                row = {"Path": name if part == "test" else f"CheXpert-v1.0-small/{name}"}
                row |= {"Sex": "Female", "Age": "60", "Frontal/Lateral": view[6:].title()}
                row |= {
                    label: marks[(patient + place) % len(marks)]
                    for place, label in enumerate(chexpert.OBSERVATIONS)
                }
                rows.append(row)
                write_image(folder / name, number, grey=True)
                number += 1
        table = "test_labels.csv" if part == "test" else f"{part}.csv"
        pd.DataFrame(rows).to_csv(folder / table, index=False)
    return folder


def mimic(root: Path, *, packed: bool = True) -> Path:
    """16 patients of one study with two images, one study without labels."""
    parts = {"train": range(10), "validate": range(10, 12), "test": range(12, 16)}
    images: list[tuple[object, ...]] = []
    studies: list[tuple[object, ...]] = []
    for part, patients in parts.items():
        for number in patients:
            subject, study = 10000032 + number * 500_000, 50414267 + number
            for view in ("PA", "LATERAL"):
                dicom = f"02aa804e-bde0afdd-112c0b34-7bc16630-{number:06d}{view[0]:0>2}"
                folder = f"files/p{str(subject)[:2]}/p{subject}/s{study}"
                write_image(root / folder / f"{dicom}.jpg", len(images), grey=True)
                images.append((dicom, study, subject, part, view))
            marks = [
                (1.0, 0.0, -1.0, None)[(number + k) % 4] for k in range(len(mimic_cxr_jpg.FINDINGS))
            ]
            studies.append((subject, study, *marks))
    names = ["dicom_id", "study_id", "subject_id", "split", "ViewPosition"]
    table = pd.DataFrame(images, columns=names)
    labels = pd.DataFrame(studies[1:], columns=["subject_id", "study_id", *mimic_cxr_jpg.FINDINGS])
    for what, columns in {
        "split": table[["dicom_id", "study_id", "subject_id", "split"]],
        "metadata": table[["dicom_id", "subject_id", "study_id", "ViewPosition"]],
        "chexpert": labels,
    }.items():
        text = columns.to_csv(index=False).encode()
        name = f"mimic-cxr-2.0.0-{what}.csv"
        (root / f"{name}.gz" if packed else root / name).write_bytes(
            gzip.compress(text) if packed else text
        )
    return root


def idc(root: Path) -> Path:
    """10 patients with patches of both classes, and lists of the patients of the paper's split."""
    patients = [10253 + 17 * number for number in range(9)] + [8863]
    for number, patient in enumerate(patients):
        for label in (0, 0, 0, 1):
            x, y = 1001 + 50 * number, 1051 + 50 * len(list(root.rglob("*.png")))
            name = f"{patient}_idx5_x{x}_y{y}_class{label}.png"
            write_image(root / str(patient) / str(label) / name, x + y)
    (root / "splits").mkdir()
    (root / "splits" / "val_patients.txt").write_text("8863\n10253\n")
    (root / "splits" / "test_patients.txt").write_text("10270\n10287")
    return root


def eyepacs(root: Path) -> Path:
    """16 patients to train on and 8 to test on, two eyes each."""
    for folder, table, patients in (
        ("train", "trainLabels.csv", [10, 13, 15, 16, 17, 19, 20, 21, 22, 23, 25, 30, 31, 33]),
        ("test", "retinopathy_solution.csv", [1, 2, 3, 4, 5, 6, 7, 8]),
    ):
        rows = []
        for place, patient in enumerate(patients):
            for eye in ("left", "right"):
                row = {"image": f"{patient}_{eye}", "level": (place + (eye == "right")) % 5}
                if folder == "test":
                    row["Usage"] = "Private" if patient > 2 else "Public"
                rows.append(row)
                write_image(root / folder / f"{patient}_{eye}.jpeg", patient * 2 + len(eye))
        pd.DataFrame(rows).to_csv(root / table, index=False)
    return root


def aptos(root: Path) -> Path:
    """20 graded images and 3 without grades."""
    names = [f"{0x000C1434D8D7 + 7919 * number:012x}" for number in range(23)]
    for number, name in enumerate(names):
        folder = "train_images" if number < 20 else "test_images"
        write_image(root / folder / f"{name}.png", number)
    rows = {"id_code": names[:20], "diagnosis": [number % 5 for number in range(20)]}
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)
    pd.DataFrame({"id_code": names[20:]}).to_csv(root / "test.csv", index=False)
    return root


_SLIDES = (
    *("B_A-14-22549AB", "B_A-14-29960CD", "B_F-14-9133", "B_F-14-25197", "B_PT-14-21998AB"),
    *("B_PT-14-22704", "B_TA-14-3411F", "B_TA-14-13200", "M_DC-14-2523", "M_DC-14-13412"),
    *("M_LC-14-13412", "M_LC-14-12204", "M_MC-14-10147", "M_PC-14-9146", "M_PC-14-15687B"),
)
_FOLDERS = {
    "B_A": "benign/SOB/adenosis",
    "B_F": "benign/SOB/fibroadenoma",
    "B_PT": "benign/SOB/phyllodes_tumor",
    "B_TA": "benign/SOB/tubular_adenoma",
    "M_DC": "malignant/SOB/ductal_carcinoma",
    "M_LC": "malignant/SOB/lobular_carcinoma",
    "M_MC": "malignant/SOB/mucinous_carcinoma",
    "M_PC": "malignant/SOB/papillary_carcinoma",
}


def breakhis(root: Path) -> Path:
    """14 patients, one of them under two subtypes, at four magnifications."""
    for number, slide in enumerate(_SLIDES):
        kind, rest = slide.split("-", 1)
        folder = root / "BreaKHis_v1/histology_slides/breast" / _FOLDERS[kind]
        for place, zoom in enumerate((40, 100, 200, 400)):
            name = f"SOB_{slide}-{zoom}-001.png"
            write_image(folder / f"SOB_{kind}_{rest}" / f"{zoom}X" / name, 4 * number + place)
    return root


def pcam(root: Path, *, meta: bool = True) -> Path:
    """12 patches to train, 4 to validate and 6 to test on, of two slides each."""
    root.mkdir(parents=True, exist_ok=True)
    for number, (part, count) in enumerate({"train": 12, "valid": 4, "test": 6}.items()):
        name = f"camelyonpatch_level_2_split_{part}"
        labels = np.arange(count, dtype=np.uint8) % 2
        with h5py.File(root / f"{name}_x.h5", "w") as file:
            file["x"] = noise(number, count, 96, 96, 3)
        with h5py.File(root / f"{name}_y.h5", "w") as file:
            file["y"] = labels.reshape(-1, 1, 1, 1)
        if meta:
            slides = [f"camelyon16_{part}_{row // 2 % 2}" for row in range(count)]
            rows = {"tumor_patch": labels == 1, "center_tumor_patch": labels == 1, "wsi": slides}
            pd.DataFrame(rows).to_csv(root / f"{name}_meta.csv")
    return root


def medmnist(name: str, root: Path, *, size: int = 28) -> Path:
    """18 images to train, 12 to validate and 12 to test on; every class is in each."""
    root.mkdir(parents=True, exist_ok=True)
    labels = DATASETS[f"medmnist/{name}"].labels
    colour = (3,) if name.startswith(("path", "derma", "retina", "blood")) else ()
    arrays = {}
    for number, (split, count) in enumerate({"train": 18, "val": 12, "test": 12}.items()):
        rows = np.arange(count, dtype=np.uint8)[:, None]
        classes = len(labels.get("label", ()))
        answers = rows % classes if classes else (rows + np.arange(len(labels))) % 2
        arrays[f"{split}_images"] = noise(number, count, size, size, *colour)
        arrays[f"{split}_labels"] = answers.astype(np.uint8)
    file = root / f"{name}{'' if size == 28 else f'_{size}'}.npz"
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return root


def imagefolder(root: Path) -> Path:
    """Splits and classes as folders."""
    for part, count in {"train": 8, "validation": 4, "test": 4}.items():
        for number in range(count):
            label = ("normal", "opacity")[number % 2]
            write_image(root / part / label / f"{number:04d}.png", number + 100 * count)
    return root


def imagefolder_metadata(root: Path, *, lines: bool = False) -> Path:
    """Splits as folders, labels and patients in a metadata file in each."""
    for part, first in {"train": 0, "validation": 8, "test": 12}.items():
        rows = []
        for number in range(first, first + (8 if part == "train" else 4)):
            write_image(root / part / f"{number:04d}.png", number)
            row = {"file_name": f"{number:04d}.png", "patient_id": f"p{number // 2:03d}"}
            rows.append(row | {"finding": number % 2})
        if lines:
            text = "\n".join(json.dumps(row | {"boxes": [1, 2]}) for row in rows)
            (root / part / "metadata.jsonl").write_text(text)
        else:
            pd.DataFrame(rows).to_csv(root / part / "metadata.csv", index=False)
    return root


def own_arrays(root: Path) -> Path:
    """Arrays of somebody's own."""
    arrays = {}
    for number, (split, count) in enumerate({"train": 16, "val": 6, "test": 6}.items()):
        arrays[f"{split}_images"] = noise(number, count, 20, 20)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(root / "mine.npz", allow_pickle=False, **arrays)
    return root


def indexed(name: str, root: Path) -> pd.DataFrame:
    """What a known data set says of its images, by their files."""
    return DATASETS[name].index(root).set_index("file")


# Each takes a folder to fill, and returns the root to index.
TREES: dict[str, Callable[[Path], Path]] = {
    "nih-chestxray14": nih,
    "chexpert": chexpert_small,
    "mimic-cxr-jpg": mimic,
    "idc": idc,
    "eyepacs": eyepacs,
    "aptos-2019": aptos,
    "breakhis": breakhis,
    "pcam": pcam,
    **{
        name: partial(medmnist, name.removeprefix("medmnist/"))
        for name in DATASETS
        if name.startswith("medmnist/")
    },
    "imagefolder": imagefolder,
    "npz": own_arrays,
}
