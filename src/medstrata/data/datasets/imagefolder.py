"""Hugging Face's imagefolder: folders as splits and classes, or a metadata file."""

import posixpath
from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import require_folder, text_table, walk_files
from medstrata.data.datasets.dataset import Dataset
from medstrata.data.sources import OTHER_IMAGES, READABLE, clean_name
from medstrata.data.splits import SPLIT_WORDS
from medstrata.data.tables import guess_column, read_table
from medstrata.runtime.console import warn
from medstrata.runtime.documents import parse_json
from medstrata.runtime.errors import MedstrataError, first_few

_URL = "https://huggingface.co/docs/datasets/image_dataset"
_WORDS = {**SPLIT_WORDS, "eval": "test", "evaluation": "test"}
_OURS = ("file", "frame", "array")


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`.

    With metadata files, the images are those that they list; else all that are there.
    """
    require_folder(root)
    paths = list(walk_files(root, follow_links=False))
    metadata = [path for path in paths if posixpath.basename(path) in _METADATA]
    if metadata:
        parts = [_listed(root, path) for path in metadata]
        table = pd.concat(parts, ignore_index=True).astype("string")
    else:
        images = [path for path in paths if path.lower().endswith(READABLE)]
        others = [path for path in paths if path.lower().endswith(OTHER_IMAGES)]
        if not images:
            raise MedstrataError(f"{root} has no images: see {_URL}")
        if others:
            warn(f"{len(others)} images are of kinds that are not read: {first_few(others)}")
        table = pd.DataFrame({"file": pd.Series(images, dtype="string")})
    split, inside = _folder_splits(table["file"])
    classes = inside.map(posixpath.basename).replace("", pd.NA)
    if "label" not in table and classes.nunique() > 1:
        table["label"] = classes
    if split.notna().any():
        table["split.folder"] = split
    return text_table(table)


def _folder_splits(files: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The split that a folder names, null where none does, and the folders that are left below it.

    Folders of splits stand in the root, or at any depth if every image lies in one: archives often
    unpack into a folder of their own.
    """
    folders = files.map(posixpath.dirname)
    deepest = 1 + int(folders.str.count("/").max())
    found = pd.DataFrame(
        [_find_split(folder, deepest) for folder in folders], columns=["split", "inside", "depth"]
    )
    below = found["depth"].gt(0)
    if below.any() and not found["split"].notna().all():
        warn(
            f"folders such as {files[below.to_numpy()].iloc[0]} look like splits, but not every "
            "image lies in one: those below the first level are not taken for splits"
        )
        found = pd.DataFrame([_find_split(one, 1) for one in folders], columns=found.columns)
    return found["split"].astype("string"), found["inside"].astype("string")


def _find_split(folder: str, deepest: int) -> tuple[str | None, str, int | None]:
    """The first folder of a path that is called as a split, what follows it, and its depth."""
    parts = folder.split("/")
    for depth, part in enumerate(parts[:deepest]):
        if part.lower() in _WORDS:
            return _WORDS[part.lower()], "/".join(parts[depth + 1 :]), depth
    return None, folder, None


def _listed(root: Path, path: str) -> pd.DataFrame:
    rows = _METADATA[posixpath.basename(path)](root / path)
    if "file_name" not in rows or rows["file_name"].isna().any():
        raise MedstrataError(
            f"{root / path} must name an image in column file_name of each row: see {_URL}"
        )
    taken = [name for name in rows.columns if name in _OURS or name.startswith("split.")]
    if taken:
        raise MedstrataError(f"{root / path} has a column {taken[0]!r}: rename it")
    patient = guess_column(rows, "patient")
    if patient is not None:
        rows = rows.rename(columns={patient: "patient_id"})
    folder = posixpath.dirname(path)
    files = rows.pop("file_name").map(lambda name: clean_name(f"{folder}/{name}".lstrip("/"), root))
    return pd.concat([files.rename("file"), rows], axis=1)


def _read_jsonl(path: Path) -> pd.DataFrame:
    """A row a line as text; values that are lists or objects, such as boxes, are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise MedstrataError(f"{path} is not UTF-8 text: see {_URL}") from error
    rows = [_plain(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise MedstrataError(f"{path} has no rows")
    return pd.DataFrame(rows, dtype="string")


def _plain(line: str, where: str) -> dict[str, str | None]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise MedstrataError(f"{where} is not JSON ({error}): mend it") from error
    if not isinstance(row, dict):
        raise MedstrataError(f"{where} is not a JSON object: mend it")
    return {
        name: None if value is None else str(value)
        for name, value in row.items()
        if not isinstance(value, list | dict)
    }


_METADATA = {
    "metadata.csv": read_table,
    "metadata.jsonl": _read_jsonl,
    "metadata.parquet": read_table,
}

IMAGEFOLDER = Dataset(
    name="imagefolder",
    title="Your own, as Hugging Face's imagefolder",
    modality="any",
    task="label",
    licence="your own",
    citation="none",
    url=_URL,
    layout="""\
train/cat/1.png, validation/cat/2.png, test/dog/3.png ...   split, then class; splits may lack,
and may stand deeper if every image lies in one
or metadata.csv, .jsonl or .parquet in the root or in each split, with file_name, relative to its
folder, and columns such as label and patient_id""",
    note="Folders train, validation and test are the split `folder`; without them none is ready.",
    index=index,
)
