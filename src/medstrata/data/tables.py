"""Tables as users write them: reading them, and guessing what their columns are."""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import pandas as pd

from medstrata.data.store.store import ColumnKind, LabelColumn
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError, first_few, one_line
from medstrata.runtime.harmless import WRITTEN_CSV, csv_value
from medstrata.runtime.optional import import_optional

MAX_CLASSES = 30  # a column with more values is not guessed to be a label

# "None" and "none" are not here: they are classes in many tables.
_UNKNOWN = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "<NA>"]
# Column names without case, spaces and signs, the likeliest first.
_NAMES = {
    "file": (
        *("file", "filename", "filepath", "path", "image", "imagepath", "imagefile", "imagename"),
        *("imageid", "imageindex", "idcode", "img", "imgpath", "imgname", "imgid", "isicid"),
        "dicomid",
    ),
    "patient": (
        *("patientid", "patient", "patientname", "subjectid", "subject", "participantid"),
        *("personid", "caseid", "case", "slideid", "slide", "pid"),
    ),
    "site": (
        *("site", "siteid", "center", "centre", "centerid", "centreid", "hospital", "hospitalid"),
        *("institution", "scanner", "device", "cameratype", "source"),
    ),
}
# A column with one of these words in its name is no label.
_NO_LABEL = frozenset(
    (
        *("file", "filename", "filepath", "path", "image", "img", "id"),
        *("patient", "subject", "participant", "slide", "case", "age", "sex", "gender", "race"),
        *("ethnicity", "source", "site", "center", "centre", "hospital", "scanner", "device"),
        *("split", "set", "subset", "fold", "seed", "frac", "fraction"),
        *("eye", "side", "laterality", "view", "position", "frontal", "lateral", "ap", "pa"),
        *("width", "height", "size", "spacing", "date", "time", "year", "month", "follow"),
    )
)
_ORDERED = ("grade", "level", "stage", "severity", "score", "gleason", "isup")
# Values that mean "nothing found", so that they are not taken for the positive class.
_ABSENT = frozenset(
    (
        *("no", "none", "negative", "normal", "benign", "healthy", "absent", "false"),
        *("no finding", "no findings", "nothing", "clear"),
    )
)
_LONGEST_HEADER = 2**20  # bytes
_ZIP = b"PK\x03\x04"
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# What else people keep tables in, by the first bytes.
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls)",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML, perhaps a page that asks to log in",
    b"%PDF": "PDF",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
}
# What people put between several findings of one cell.
_SEPARATORS = ("|", ";", ",", "+", "&", "/")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as text, null where a cell is unknown.

    CSV and TSV in UTF-8 or UTF-16, also packed by gzip, bzip2, xz or as the one file of a zip;
    Parquet; the first sheet of an Excel workbook. The bytes say which, not the name. Everything is
    text so that ids keep their leading zeros and labels stay as they are written; what our own
    tables write otherwise for a spreadsheet's sake is as it was.

    Raises:
        MedstrataError: the file is missing, no such table, empty or of another encoding, or the
            package that reads Excel is missing.
    """
    if not path.is_file():
        raise MedstrataError(f"{path} is missing: give a CSV, Parquet or Excel file")
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
        if start.startswith(b"PAR1"):
            table = _as_text(pd.read_parquet(path))
        elif start.startswith(_ZIP) and _is_workbook(path):
            table = _read_workbook(path)
        else:
            with _unpacked(path, start) as stream:
                table = _read_lines(stream, path)
    # ParserError, ArrowInvalid, BadGzipFile
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise MedstrataError(
            f"{path} is not a CSV, Parquet or Excel table: {one_line(error, limit=120)}"
        ) from error
    if table.empty:
        raise MedstrataError(f"{path} has no rows")
    table.columns = [csv_value(str(name).strip()) for name in table.columns]
    return table


def _unpacked(path: Path, start: bytes) -> Any:
    """The bytes of a table, whatever packed them."""
    if start.startswith(_ZIP):
        archive = zipfile.ZipFile(path)
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        names = [name for name in names if not name.startswith("__MACOSX/")]
        if len(names) == 1:
            return archive.open(names[0])
        raise MedstrataError(f"{path} holds {len(names)} files ({first_few(names)}): unpack it")
    for magic, opened in _PACKED.items():
        if start.startswith(magic):
            return opened(path, "rb")
    return path.open("rb")


def _read_lines(stream: IO[bytes], path: Path) -> pd.DataFrame:
    start = stream.read(64)
    kind = next((what for magic, what in _OTHERS.items() if start.lstrip().startswith(magic)), None)
    if kind is not None:
        raise MedstrataError(f"{path} is {kind}: save the table in it as CSV (UTF-8) or Parquet")
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    stream.seek(0)
    header = stream.read(_LONGEST_HEADER).decode(encoding, "ignore").splitlines()[:1]
    stream.seek(0)
    try:
        table = pd.read_csv(
            stream,
            dtype="string",
            sep=max(",;\t", key="".join(header).count),
            keep_default_na=False,
            na_values=_UNKNOWN,
            encoding=encoding,
        )
    except UnicodeDecodeError as error:
        raise MedstrataError(
            f"{path} is not UTF-8 (it has the byte 0x{error.object[error.start]:02x}), perhaps "
            f"Latin-1: save it as CSV UTF-8, or `iconv -f latin1 -t utf-8 {path.name} > utf8.csv`"
        ) from error
    for name, column in table.items():
        written = column.str.contains(WRITTEN_CSV).fillna(value=False).astype(bool)
        table.loc[written, name] = column[written].map(csv_value)
    return table


def _is_workbook(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return "xl/workbook.xml" in archive.namelist()


def _read_workbook(path: Path) -> pd.DataFrame:
    import_optional("openpyxl", f"{path}: reading Excel", "excel")
    with pd.ExcelFile(path, engine="openpyxl") as workbook:
        name = str(workbook.sheet_names[0])
        if len(workbook.sheet_names) > 1:
            say(f"{path}: sheet {name!r} is read, the first of {len(workbook.sheet_names)}")
        return pd.read_excel(
            workbook, sheet_name=name, dtype="string", keep_default_na=False, na_values=_UNKNOWN
        )


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Cells as text; whole numbers that nulls have turned to floats are whole again."""
    text = {}
    for name, column in table.items():
        if column.dtype.kind == "f" and bool((column.dropna() % 1 == 0).all()):
            column = column.astype("Int64")
        text[str(name)] = column.astype("string").replace(dict.fromkeys(_UNKNOWN, pd.NA))
    return pd.DataFrame(text)


def find_column(table: pd.DataFrame, name: str, where: Path, flag: str) -> str:
    """Check that a column that the user named is there.

    Args:
        table: Has the columns.
        name: Of the column.
        where: File of the table, for the message.
        flag: What the user named it with, for the message.

    Raises:
        MedstrataError: it is not; the line lists those that are.
    """
    if name not in table.columns:
        raise MedstrataError(
            f"{where} has no column {name!r} ({flag}); it has {', '.join(table.columns)}"
        )
    return name


def guess_column(table: pd.DataFrame, what: Literal["file", "patient", "site"]) -> str | None:
    """The column that names files, patients or where images were made, by its name."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(table.columns)}
    return next((plain[name] for name in _NAMES[what] if name in plain), None)


def split_findings(column: pd.Series, separator: str) -> dict[str, pd.Series]:
    """A column of 0 and 1 for each finding of cells that hold several.

    Args:
        column: Text, null where nothing is known.
        separator: What stands between findings.

    Returns:
        By name, in alphabetical order; words for "nothing found" are no finding. Integers, null
        where the cell is.
    """
    known = column.dropna()
    cells = known.map(lambda cell: {part.strip() for part in cell.split(separator)} - {""})
    names = sorted(set().union(*cells), key=str.lower)
    found = {}
    for name in names:
        if name.lower() not in _ABSENT:
            marks = pd.Series(pd.NA, index=column.index, dtype="Int64")
            marks[known.index] = [int(name in cell) for cell in cells]
            found[name] = marks
    return found


def find_separator(column: pd.Series) -> str | None:
    """What stands between several findings of a cell: its parts are cells of their own, too."""
    cells = set(column.dropna().str.strip())
    for separator in _SEPARATORS:
        several = [cell for cell in cells if separator in cell]
        parts = {part.strip() for cell in several for part in cell.split(separator)}
        alone = parts & cells
        if several and len(alone) >= 2 and 2 * len(alone) >= len(parts):
            return separator
    return None


def guess_label_columns(
    table: pd.DataFrame, taken: set[str], separator: str | None = None
) -> list[str]:
    """Columns with few, repeated values and a name that does not say otherwise.

    Args:
        table: As `read_table` gives it.
        taken: Columns known to be something else.
        separator: What stands between several findings of a cell; a column with it is a label if
            it has few findings, however many ways they are put together.
    """
    guessed = []
    for name in table.columns:
        if name in taken or _NO_LABEL & set(_words(name)):
            continue
        filled = table[name].dropna()
        if separator and filled.str.contains(separator, regex=False).any():
            if len(split_findings(filled, separator)) <= MAX_CLASSES:
                guessed.append(name)
            continue
        # Few of a sample suffice to drop free text and numbers before all is counted.
        if filled.head(10_000).nunique() > MAX_CLASSES:
            continue
        values = filled.drop_duplicates()
        repeated = 2 * len(values) <= len(filled)
        if 2 <= len(values) <= MAX_CLASSES and repeated and not _measured(values):
            guessed.append(name)
    return guessed


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+", apart.lower())


def _measured(values: pd.Series) -> bool:
    """Whether all values are numbers and some are not whole."""
    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().all() and (numbers % 1 != 0).any())


def label_values(column: pd.Series) -> pd.Series:
    """Whole numbers as integers, all else as text, null where unknown."""
    filled = column.dropna()
    if filled.str.fullmatch(r"[+-]?\d+(\.0*)?").all():
        return pd.to_numeric(column).astype("Float64").astype("Int64")
    return column.str.strip()


def describe_column(name: str, values: pd.Series, ordinal: bool) -> LabelColumn:
    """Say what the values of a label column mean.

    Args:
        name: Its name; words such as "grade" make whole numbers ordinal.
        values: As `label_values` gives them.
        ordinal: Whether the user has said that it has an order.

    Returns:
        Kind and classes. Numbers ascend; text is in alphabetical order, but words for "nothing
        found" come first.

    Raises:
        MedstrataError: it has fewer than two values, or text is said to have an order.
    """
    classes = values.dropna().unique().tolist()
    if len(classes) < 2:
        raise MedstrataError(
            f"label column {name!r} has {len(classes)} values; it needs two or more"
        )
    numbers = values.dtype == "Int64"
    if ordinal and not numbers:
        raise MedstrataError(
            f"label column {name!r} is text, so its order is unknown: leave it out of the ordinal "
            f"columns and give the order with the task, as '{name}: mild vs moderate vs severe'"
        )
    ordered = ordinal or any(word in name.lower() for word in _ORDERED)
    kind: ColumnKind = "multiclass"
    if len(classes) == 2:
        kind = "binary"
    elif numbers and ordered:
        kind = "ordinal"
    classes.sort(key=lambda value: value if numbers else (value.lower() not in _ABSENT, value))
    return LabelColumn(kind, tuple(str(value) for value in classes))
