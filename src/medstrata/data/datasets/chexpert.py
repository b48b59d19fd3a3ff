"""CheXpert: chest radiographs with findings that may be uncertain."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import (
    draw_validation,
    find_table,
    folders_in,
    map_codes,
    match_names,
    read_columns,
    text_table,
)
from medstrata.data.datasets.dataset import Dataset

OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
# The labeller's marks as its tables write them.
MARKS = {"1": "1", "1.0": "1", "0": "0", "0.0": "0", "-1": "-1", "-1.0": "-1"}
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
_URL = "https://stanfordmlgroup.github.io/competitions/chexpert/"
_TESTS = ("test_labels.csv", "test.csv")


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    here = next(
        (name for name in ("CheXpert-v1.0-small/", "CheXpert-v1.0/") if (root / name).is_dir()), ""
    )
    batches = sorted(path.name for path in root.glob("CheXpert-v1.0 batch *") if path.is_dir())
    if not here and batches and not (root / "train.csv").is_file():
        here = next((f"{name}/" for name in batches if (root / name / "train.csv").is_file()), "")
    tables = {
        "train": find_table(root, (f"{here}train.csv",)),
        "valid": find_table(root, (f"{here}valid.csv",)),
    }
    with_test = any((root / here / name).is_file() for name in _TESTS)
    if with_test:
        tables["test"] = find_table(root, [here + name for name in _TESTS])
    table = pd.concat([_part(path, part, here) for part, path in tables.items()], ignore_index=True)
    if batches:
        table["file"] = _in_batches(root, table["file"], here, batches)
    part = table.pop("part")
    trains = part.eq("train")
    drawn = draw_validation(table["patient_id"], trains)
    table["split.official"] = drawn.mask(part.eq("valid"), "test")
    if with_test:
        table["split.with-test"] = part.replace({"valid": "val"})
    return text_table(table)


def _in_batches(root: Path, files: pd.Series, here: str, batches: list[str]) -> pd.Series:
    """Where images lie whose archives were unpacked beside each other and not merged."""
    batch_of = {name: batch for batch in batches for name in folders_in(root / batch)}

    def place(file: str) -> str:
        inside = file.removeprefix(here)
        part, _, rest = inside.partition("/")
        patient = rest.partition("/")[0]
        if patient in batch_of:  # those of train lie straight in their batches
            return f"{batch_of[patient]}/{rest}"
        return f"{batch_of[part]}/{inside}" if part in batch_of else file

    return files.map(place).astype("string")


def _part(path: Path, part: str, here: str) -> pd.DataFrame:
    rows = read_columns(path, ("Path",), nullable=OBSERVATIONS, optional=("Frontal/Lateral",))
    place = match_names(rows["Path"], r"((?:train|valid|test)/(patient\d+)/study\d+/[^/]+)$", path)
    nothing = pd.Series(pd.NA, index=rows.index, dtype="string")
    marks = {name: map_codes(rows[name], MARKS, path) for name in OBSERVATIONS}
    return pd.DataFrame(
        {
            "file": here + place[0],
            "patient_id": place[1],
            **marks,
            "view": rows.get("Frontal/Lateral", nothing),
            "part": pd.Series(part, index=rows.index, dtype="string"),
        }
    )


CHEXPERT = Dataset(
    name="chexpert",
    title="CheXpert v1.0, full size or small",
    modality="chest radiographs, frontal and lateral",
    images=223_648,
    patients=64_740,
    labels=dict.fromkeys(OBSERVATIONS, ("0", "1")),
    uncertain="-1",
    task=",".join(COMPETITION),
    splits=("official", "with-test"),
    split_files={"with-test": f"test_labels.csv and the folder test/, from {_URL}"},
    split_sizes={
        "official": {"test": 234},
        "with-test": {"train": 223_414, "val": 234, "test": 668},
    },
    optional_images=668,
    optional_patients=500,
    licence="Stanford University Dataset Research Use Agreement: research only, no passing on",
    citation=(
        "Irvin, Rajpurkar, Ko et al.: CheXpert: A Large Chest Radiograph Dataset with Uncertainty "
        "Labels and Expert Comparison, AAAI 2019"
    ),
    url=_URL,
    layout="""\
train.csv, valid.csv                           Path names CheXpert-v1.0-small/train/...
train/patient00001/study1/view1_frontal.jpg ...
valid/patient64541/study1/view1_frontal.jpg ...
test_labels.csv or test.csv, test/             if you have them
The root is this folder (CheXpert-v1.0-small, CheXpert-v1.0), the one above it, or one that holds
the full-size download as its archives unpack: "CheXpert-v1.0 batch 1 (validate & csv)" ...""",
    note=(
        "Split `official` tests on the 234 radiologist-labelled images of 200 patients called "
        "valid; an eighth of train, drawn by patient with seed 0, validates. Split `with-test` "
        "validates on those and tests on the 668 images of 500 patients published later. An empty "
        "cell is unknown, not negative."
    ),
    index=index,
)
