"""What a table says about the image files: joining its rows to them, and checking it."""

import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.patients import clean_ids
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import OUTSIDE, Sources, clean_name, without_suffix
from medstrata.data.store.store import LabelColumn
from medstrata.data.tables import (
    describe_column,
    find_column,
    find_separator,
    guess_column,
    guess_label_columns,
    label_values,
    split_findings,
)
from medstrata.runtime.console import say, warn
from medstrata.runtime.errors import MedstrataError, first_few


@dataclass(frozen=True)
class Annotations:
    """What is known of each image file or sample, in their order.

    Attributes:
        rows: A row each, as `rows_table` makes it.
        columns: What the values of each label column mean.
        unmatched: Pairs of name and reason of the table's rows without a file.
    """

    rows: pd.DataFrame
    columns: dict[str, LabelColumn]
    unmatched: list[tuple[str, str]]

    def take(self, indices: NDArray[np.int64]) -> "Annotations":
        """Those at the indices, in their order; an index may repeat."""
        return replace(self, rows=self.rows.take(indices).reset_index(drop=True))


def rows_table(
    index: pd.Index,
    known: Mapping[str, pd.Series | None],
    labels: Mapping[str, pd.Series],
    listed: bool | NDArray[np.bool_],
) -> pd.DataFrame:
    """What is known of files, a row each.

    Args:
        index: Of the rows.
        known: `patient_id`; `site`, where a file was made (hospital, scanner); and `split`, what
            decides its split: each null where unknown, None or left out where that is everywhere.
        labels: Values of each label column, integers or text, null where unknown.
        listed: Whether a table has a row for each.

    Returns:
        Columns patient_id, site, split, listed and one `label.<column>` each.
    """
    nothing = pd.Series(pd.NA, index=index, dtype="string")
    columns = {name: known.get(name) for name in ("patient_id", "site", "split")}
    return pd.DataFrame(
        {
            **{name: nothing if values is None else values for name, values in columns.items()},
            "listed": pd.Series(listed, index=index, dtype=bool),
            **{f"label.{name}": values for name, values in labels.items()},
        }
    )


def file_names(table: pd.DataFrame, path: Path, column: str | None, root: Path) -> pd.Series:
    """The clean name of the file of each row, null where the row has none.

    Args:
        table: As `read_table` gives it.
        path: Where it was read from.
        column: The column that names files; guessed if None.
        root: Folder of the images, resolved.

    Raises:
        MedstrataError: the column is not there, or none can be guessed.
    """
    if column is None:
        column = guess_column(table, "file")
        if column is None:
            raise MedstrataError(
                f"{path} has no column that looks like file names; name it with --file-column: "
                f"it has {', '.join(table.columns)}"
            )
    names = table[find_column(table, column, path, "--file-column")]
    if names.isna().any():
        warn(f"{path}: {int(names.isna().sum())} rows name no file in column {column!r}")
    return names.map(lambda name: clean_name(name, root), na_action="ignore")


def annotate(
    sources: Sources,
    table: pd.DataFrame,
    files: pd.Series,
    path: Path,
    settings: PrepareSettings,
    split_column: str | None,
) -> Annotations:
    """Join a table to the files.

    Args:
        sources: Image files.
        table: As `read_table` gives it.
        files: As `file_names` gives them for the table.
        path: Where the table was read from.
        settings: Which columns mean what; what is not named is guessed by its name.
        split_column: Column that decides the split, if one does.

    Raises:
        MedstrataError: a named column is not there, no row has an image, or rows of one image
            contradict each other.
    """
    for name, option in (
        (settings.patient_column, "--patient-column"),
        (settings.site_column, "--site-column"),
        (split_column, "--split"),
    ):
        if name is not None:
            find_column(table, name, path, option)
    patient_column = settings.patient_column
    if patient_column is None and settings.patient_from is None:
        patient_column = guess_column(table, "patient")
    site_column = settings.site_column or guess_column(table, "site")
    taken = {name for name in (patient_column, site_column, split_column) if name}
    names = sources.files
    matches = match_files(names, files)
    _say_matches(names, files, matches, path)
    rows = table[matches >= 0]
    label_columns = _label_columns(rows, settings, taken, path)
    used = list(dict.fromkeys((*taken, *label_columns)))
    indexed = rows[used].assign(**{_FILE_INDEX: matches[matches >= 0]})
    aligned = _one_row_a_file(indexed, names, path)
    if site_column is not None:
        aligned[site_column] = clean_ids(aligned[site_column])
    labels = read_labels(aligned[label_columns], settings.label_separator)
    described = {
        name: describe_column(name, labels[name], name in settings.ordinal_columns)
        for name in labels
    }
    _say_columns(described, settings.label_columns is None, patient_column, path)
    known = {"patient_id": patient_column, "site": site_column, "split": split_column}
    known_values = {name: aligned[column] for name, column in known.items() if column}
    listed = np.isin(np.arange(len(names)), matches)
    return Annotations(
        rows_table(aligned.index, known_values, labels, listed),
        described,
        _unmatched(files[matches < 0], sources),
    )


def read_labels(columns: pd.DataFrame, separator: str | None) -> dict[str, pd.Series]:
    """Values of each label column, and of each finding where cells hold several.

    Args:
        columns: Text, null where unknown.
        separator: What stands between findings; None where it is to be proposed if it is seen.

    Raises:
        MedstrataError: two columns would have one name.
    """
    labels: dict[str, pd.Series] = {}
    for name in map(str, columns):
        column = columns[name]
        several = separator is not None and column.str.contains(separator, regex=False).any()
        found = split_findings(column, separator) if separator and several else {}
        for one, values in (found or {name: label_values(column)}).items():
            if one in labels:
                raise MedstrataError(f"two label columns would be called {one!r}: rename one")
            labels[one] = values
        seen = None if several else find_separator(column)
        if seen is not None:
            example = column[column.str.contains(seen, regex=False, na=False)].iloc[0]
            warn(
                f"label {name} holds several findings in a cell ({example}), taken for classes of "
                f"their own: --label-separator {shlex.quote(seen)} makes a 0/1 column of each"
            )
    return labels


_FILE_INDEX = "\0file index"  # no column of a user's table is called so


def match_files(names: Sequence[str], files: pd.Series) -> NDArray[np.int64]:
    """Find the image that each row of a table means.

    Paths are compared whole first, then by ever fewer of their last parts, then the same without
    suffixes: a table may leave out folders ("a.png" for "images/a.png"), name others, or leave out
    the suffix ("10_left"). A comparison counts only where one image and one name have that end.

    Args:
        names: Image files.
        files: A name a row, null where the row has none; names may repeat.

    Returns:
        Index of the image in `names`, shape of `files`; -1 where there is none.
    """
    distinct = pd.Index(files.dropna().unique())
    if not len(distinct):
        return np.full(len(files), -1, dtype=np.int64)
    image = pd.Index(names).get_indexer(distinct).astype(np.int64)
    deepest = 1 + max(name.count("/") for name in (*names, *distinct))
    for bare, depth in product((False, True), range(deepest, 0, -1)):
        if (image >= 0).all():
            break
        images, wanted = _ends(names, depth, bare), _ends(distinct, depth, bare)
        _match_unique(images, wanted, image)
    rows: NDArray[np.int64] = np.append(image, -1)[distinct.get_indexer(files)]
    return rows


def _ends(names: Iterable[str], depth: int, bare: bool) -> pd.Index:
    """The last parts of each name, at most so many; a letter with its mark is one character."""
    ends = (
        unicodedata.normalize("NFC", "/".join(name.rsplit("/", depth)[-depth:])) for name in names
    )
    return pd.Index([without_suffix(end) if bare else end for end in ends])


def _match_unique(images: pd.Index, wanted: pd.Index, matches: NDArray[np.int64]) -> None:
    """Fill in `matches` where an end occurs once on each side and neither is taken."""
    free = np.ones(len(images), dtype=bool)
    free[matches[matches >= 0]] = False
    indices = pd.Series(np.arange(len(images)), index=images)
    indices = indices[~images.duplicated(keep=False) & free]
    asked = np.flatnonzero((matches < 0) & ~wanted.duplicated(keep=False))
    matches[asked] = np.append(indices.to_numpy(), -1)[indices.index.get_indexer(wanted[asked])]


def _say_matches(
    names: Sequence[str], files: pd.Series, matches: NDArray[np.int64], path: Path
) -> None:
    missing = files[matches < 0].dropna().drop_duplicates()
    if not (matches >= 0).any():
        raise MedstrataError(
            f"{path}: none of its {files.nunique()} file names is an image here; it has "
            f"{first_few(missing)}, the images are {first_few(names)}; {_way_out(names, missing)}"
        )
    if len(missing):
        warn(f"{path}: {len(missing)} rows have no image: {first_few(missing)}")
    without = np.setdiff1d(np.arange(len(names)), matches)
    if len(without):
        some = first_few(names[index] for index in without[:3])
        warn(f"{path}: {len(without)} images have no row and stay unlabelled: {some}")


def _way_out(names: Sequence[str], missing: pd.Series) -> str:
    """What to do about file names of which none is an image."""

    def plain(name: str) -> str:
        """A name without folders, suffix, leading zeros and the ".0" of a spreadsheet."""
        bare = without_suffix(name.rpartition("/")[2]).lower()
        return re.sub(r"(?<!\d)0+(?=\d)", "", bare.removesuffix(".0"))

    if {plain(name) for name in names} & {plain(name) for name in missing}:
        return "they differ in leading zeros, .0 or case: write them in the table as on the disk"
    return "folders and suffix may differ, the rest may not: name another column by --file-column"


def _unmatched(files: pd.Series, sources: Sources) -> list[tuple[str, str]]:
    refused = {name for name, _ in sources.refused}
    names = [name for name in files.dropna().drop_duplicates() if name not in refused]
    return [(name, OUTSIDE if name.startswith("../") else "missing") for name in names]


def _label_columns(
    rows: pd.DataFrame, settings: PrepareSettings, taken: set[str], path: Path
) -> list[str]:
    """The columns that hold labels, as they are named or guessed."""
    named = settings.label_columns
    if named is None:
        named = guess_label_columns(rows, taken, settings.label_separator)
    columns = list(dict.fromkeys((*named, *settings.ordinal_columns)))
    for name in columns:
        find_column(rows, name, path, "--label-columns")
    return columns


def _one_row_a_file(rows: pd.DataFrame, names: Sequence[str], path: Path) -> pd.DataFrame:
    """Drop rows that repeat another; the result has a row a file, in the files' order."""
    distinct = rows.drop_duplicates()
    clash = distinct.loc[distinct[_FILE_INDEX].duplicated(), _FILE_INDEX].unique()
    if len(clash):
        some = first_few(names[index] for index in clash[:3])
        differing = distinct.groupby(_FILE_INDEX).nunique(dropna=False).gt(1).any()
        columns = first_few(differing.index[differing])
        raise MedstrataError(
            f"{path}: {len(clash)} images have rows that contradict each other in {columns}: "
            f"{some}; leave one row for each, as the majority of its readers, or name other "
            "columns by --label-columns"
        )
    if len(distinct) < len(rows):
        say(f"{path}: {len(rows) - len(distinct)} rows repeat another and were left out")
    return distinct.set_index(_FILE_INDEX).reindex(range(len(names)))


def _say_columns(
    columns: dict[str, LabelColumn], guessed: bool, patient_column: str | None, path: Path
) -> None:
    for name, column in columns.items():
        how = ", guessed" if guessed else ""
        say(f"label {name}: {column.kind}{how} ({', '.join(column.classes)})")
    if not columns:
        warn(f"{path}: no label column found; name them with --label-columns")
    if patient_column is not None:
        say(f"patients: column {patient_column}")
