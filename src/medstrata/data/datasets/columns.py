"""Small tables, lists and folders of known data sets, read into columns of text."""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.dataset import DamagedCopy
from medstrata.data.splits import assign_splits
from medstrata.runtime.errors import MedstrataError, one_line

_HELD_OUT = (0.875, 0.125, 0.0)


def require_folder(root: Path) -> None:
    """Check that the data set's folder is there.

    Raises:
        DamagedCopy: it is not.
    """
    if not root.is_dir():
        raise DamagedCopy(f"{root} is not a folder")


def find_table(root: Path, names: Sequence[str]) -> Path:
    """The first of these files below the root that is there.

    Raises:
        DamagedCopy: none is.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    require_folder(root)
    raise DamagedCopy(f"{' or '.join(names)} is missing in {root}")


def read_columns(
    path: Path,
    filled: Sequence[str],
    *,
    nullable: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> pd.DataFrame:
    """Read columns of a CSV file, gzipped or not, as text; empty cells are null.

    Args:
        path: The file.
        filled: Columns it must have, no cell of them empty.
        nullable: Columns it must have, whose cells may be empty.
        optional: Columns to read where they are there.

    Raises:
        DamagedCopy: the file is no table, lacks a column, or a row has an empty cell.
    """
    needed = (*filled, *nullable)
    wanted = {*needed, *optional}
    try:
        table = pd.read_csv(
            path,
            dtype="string",
            usecols=lambda name: name.strip() in wanted,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
        )
    except (ValueError, OSError, EOFError) as error:  # ParserError, UnicodeDecodeError, BadGzipFile
        raise DamagedCopy(f"{path} cannot be read ({one_line(error, limit=120)})") from error
    table.columns = [str(name).strip() for name in table.columns]
    lacking = [name for name in needed if name not in table.columns]
    if lacking:
        raise DamagedCopy(f"{path} lacks the columns {', '.join(lacking)}")
    if table.empty:
        raise DamagedCopy(f"{path} has no rows")
    for name in filled:
        empty = table[name].isna()
        if empty.any():
            raise _broken_row(path, empty, f"{name} is empty")
    return table


def map_codes(column: pd.Series, codes: Mapping[str, str], path: Path) -> pd.Series:
    """Values as text of the catalogue, null where empty.

    Args:
        column: As `read_columns` gives it.
        codes: What each text of the file stands for.
        path: The file.

    Raises:
        DamagedCopy: a value is none of these.
    """
    values = column.str.strip().map(codes).astype("string")
    strange = values.isna() & column.notna()
    if strange.any():
        raise _broken_row(path, strange, f"{column.name} is {column[strange].iloc[0]!r}")
    return values


def match_names(names: pd.Series, pattern: str, path: Path) -> pd.DataFrame:
    """The groups of a pattern in each name, one column a group.

    Raises:
        DamagedCopy: a name does not match.
    """
    groups = names.str.extract(pattern).astype("string")
    strange = groups.isna().all(axis=1)
    if strange.any():
        what = f"the name {names[strange].iloc[0]!r} is not as expected"
        raise _broken_row(path, strange, what)
    return groups


def _broken_row(path: Path, wrong: pd.Series, what: str) -> DamagedCopy:
    """What is wrong in the first of some rows of a table with a header line."""
    return DamagedCopy(f"{path}, line {int(np.argmax(wrong.to_numpy())) + 2}: {what}")


def text_table(columns: Mapping[str, pd.Series] | pd.DataFrame) -> pd.DataFrame:
    """Columns of text, null where unknown, `frame` alone of int64: what `index` returns.

    Args:
        columns: `file`, a POSIX path relative to the root; in containers `frame`, the row in the
            array that `array` names; `patient_id` if known; label columns; and `split.<name>` with
            train, val and test, null where the split leaves the image out.

    Raises:
        MedstrataError: an image stands in it twice.
    """
    table = pd.DataFrame(
        {
            str(name): values.astype("int64" if name == "frame" else "string").reset_index(
                drop=True
            )
            for name, values in columns.items()
        }
    )
    keys = [name for name in ("file", "array", "frame") if name in table]
    again = table.duplicated(keys)
    if again.any():
        raise MedstrataError(
            f"{table.loc[again, 'file'].iloc[0]} is listed twice: leave one row for each image"
        )
    return table


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """The visible files and folders in a folder, in order of their names; none without it."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def walk_files(root: Path, *, follow_links: bool) -> Iterator[str]:
    """Visible files below a folder, as POSIX paths relative to it, in an order that stays.

    A folder's own files come first, then those of the folders in it, each in order of their names.

    Args:
        root: The folder.
        follow_links: Whether folders that are links are entered.
    """
    for folder, folders, names in os.walk(root, followlinks=follow_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if not name.startswith("."):
                yield name if here == "." else f"{here}/{name}"


def folders_in(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted; none if it is not there."""
    return [entry.name for entry in _visible(folder) if entry.is_dir()]


def files_in(root: Path, folders: Sequence[str], suffix: str) -> pd.Series:
    """Paths of the files with a suffix that lie directly in some folders, relative to the root."""
    paths = [
        posixpath.join(folder, entry.name)
        for folder in folders
        for entry in _visible(root / folder)
        if entry.name.lower().endswith(suffix)
    ]
    return pd.Series(paths, dtype="string")


def draw_validation(patients: pd.Series, drawn: pd.Series) -> pd.Series:
    """Draw validation images by patient, about an eighth of those that would train.

    Each patient's split is drawn by its id with seed 0 (`splits.assign_splits`), the same each
    time.

    Args:
        patients: Patient of each image, shape (N,).
        drawn: Which images train or validate, shape (N,); the others are null.

    Returns:
        "train" or "val", null for the others, shape (N,).
    """
    split = pd.Series(pd.NA, index=patients.index, dtype="string")
    if drawn.any():
        split[drawn] = assign_splits(patients[drawn], _HELD_OUT, seed=0)
    return split


def read_lists(names: pd.Series, lists: Mapping[str, Path], url: str) -> pd.Series:
    """A split from files that list a name a line; what follows a space is left out.

    Args:
        names: What the lists may name, shape (N,).
        lists: File of each of train, val and test.
        url: Where sound lists are found.

    Returns:
        Part of each name, null where no list has it, shape (N,).

    Raises:
        MedstrataError: a list names something unknown, or two lists name the same.
    """
    index = pd.Index(names)
    part = pd.Series(pd.NA, index=names.index, dtype="string")
    for split, path in lists.items():
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, ValueError) as error:
            raise MedstrataError(f"{path} cannot be read: get it again from {url}") from error
        listed = pd.Index([line.split()[0] for line in lines if line.strip()]).unique()
        unknown = listed.difference(index)
        if len(unknown):
            raise MedstrataError(
                f"{path} names {len(unknown)} unknown entries, the first {unknown[0]!r}: get it "
                f"again from {url}"
            )
        here = index.isin(listed)
        twice = here & part.notna().to_numpy()
        if twice.any():
            raise MedstrataError(
                f"{path} and the list of {part[twice].iloc[0]} both name {names[twice].iloc[0]}: "
                f"get them again from {url}"
            )
        part[here] = split
    return part
