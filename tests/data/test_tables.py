"""Label tables as users write them."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.data.tables import (
    describe_column,
    find_separator,
    guess_column,
    guess_label_columns,
    label_values,
    read_table,
)
from medstrata.runtime.errors import MedstrataError


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_stay_as_written(tmp_path):
    path = write(tmp_path, "\ufefffile;id;x\n001;007; a\n002;NA;None\n003;;nan\n")
    table = read_table(path)
    assert list(table.columns) == ["file", "id", "x"]
    assert table["file"].tolist() == ["001", "002", "003"]
    assert table["id"].isna().tolist() == [False, True, True]
    assert table["x"].isna().tolist() == [False, False, True]


def test_parquet_floats_that_nulls_made_are_whole_again(tmp_path):
    frame = pd.DataFrame({"file": ["a", "b", "c"], "grade": [0.0, np.nan, 2.0], "age": [1.5, 2, 3]})
    frame.to_parquet(tmp_path / "labels.parquet")
    table = read_table(tmp_path / "labels.parquet")
    assert table["grade"].tolist() == ["0", pd.NA, "2"]
    assert table["age"].tolist() == ["1.5", "2.0", "3.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not a CSV"), ("file,label\n", "no rows"), ('a,b\n"x', "not a CSV")],
)
def test_unusable_tables_say_so(tmp_path, text, message):
    with pytest.raises(MedstrataError, match=message):
        read_table(write(tmp_path, text))
    for text in ("file,näme\n", "file,name\n" + "a,b\n" * 99_999 + "c,ä\n"):
        (tmp_path / "latin.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(
            MedstrataError, match=r"not UTF-8 \(it has the byte 0xe4\), perhaps Lat"
        ):
            read_table(tmp_path / "latin.csv")
    with pytest.raises(MedstrataError, match="missing"):
        read_table(tmp_path / "none.csv")


TEXT = "file,id,y\nä.png,007,\nb.png,8,1\n"


def packed(text: bytes, names: tuple[str, ...]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, text)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace(",", "\t").encode("utf-16"),  # "Unicode text" of a spreadsheet
        TEXT.replace("\n", "\r").encode(),
        gzip.compress(TEXT.encode()),
        bz2.compress(TEXT.encode()),
        lzma.compress(TEXT.encode()),
        packed(TEXT.encode(), ("__MACOSX/._a.csv", "a.csv")),
    ],
    ids=["plain", "bom", "utf16", "mac", "gzip", "bzip2", "xz", "zip"],
)
@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz", "labels.parquet"])
def test_the_bytes_say_how_a_table_is_kept(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name)
    assert table.fillna("?").to_dict("list") == {
        "file": ["ä.png", "b.png"], "id": ["007", "8"], "y": ["?", "1"],
    }  # fmt: skip


def test_the_first_sheet_of_a_workbook(tmp_path, capsys, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["file ", "id", "y", "none"], ["a", "007", 1, "NA"], ["b", 8, None, 0.5]):
        book.active.append(row)
    book.create_sheet("notes").append(["x"])
    path = tmp_path / "labels.csv"  # its bytes are a workbook's
    book.save(path)
    table = read_table(path)
    assert table.fillna("?").to_dict("list") == {
        "file": ["a", "b"], "id": ["007", "8"], "y": ["1", "?"], "none": ["?", "0.5"],
    }  # fmt: skip
    assert "sheet 'Sheet' is read, the first of 2" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MedstrataError, match=r"reading Excel needs openpyxl: pip install 'medst"):
        read_table(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b' [{"image": "1.png"}]', "is JSON: save the table in it as CSV"),
        (b"<!DOCTYPE html><html>", "is HTML or XML, perhaps a page that asks to log in"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is an old Excel file \(.xls\): save"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "is packed by Zstandard"),
        (packed(b"a", ("a.csv", "b.csv")), r"holds 2 files \(a.csv, b.csv\): unpack it"),
        (gzip.compress(TEXT.encode() * 99)[:60], "is not a CSV, Parquet or Excel table"),
        (lzma.compress(TEXT.encode() * 99)[:60], "is not a CSV, Parquet or Excel table"),
        (packed(TEXT.encode() * 99, ("a.csv",))[:60], "is not a CSV, Parquet or Excel table"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, data, message):
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(MedstrataError, match=message):
        read_table(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("columns", "file", "patient"),
    [
        (["Image Index", "Finding Labels", "Patient ID"], "Image Index", "Patient ID"),
        (["id_code", "diagnosis"], "id_code", None),
        (["image", "level"], "image", None),
        (["image_id", "slide_id", "PatientID"], "image_id", "PatientID"),
        (["Path", "Sex", "Age"], "Path", None),
        (["x", "y"], None, None),
    ],
)
def test_columns_are_known_by_their_names(columns, file, patient):
    table = pd.DataFrame(columns=columns, dtype="string")
    assert guess_column(table, "file") == file
    assert guess_column(table, "patient") == patient


def test_label_columns_have_few_repeated_values():
    count = 100
    number = np.arange(count)
    table = pd.DataFrame(
        {
            "label": number % 2,
            "dr_grade": number % 5,
            "accession": number,
            "constant": 1,
            "bg_frac": number % 2,
            "patientAge": number % 3,
            "View Position": number % 2,
            "measure": (number % 4) / 10,
            "many": number % 31,
            "thirty": number % 30,
            "fold": number % 5,
            "mine": number % 2,
        }
    ).astype("string")
    assert guess_label_columns(table, {"mine"}) == ["label", "dr_grade", "thirty"]
    few = pd.DataFrame({"free text": ["a", "b", "c"]}, dtype="string")
    assert guess_label_columns(few, set()) == []


def test_label_values_stay_whole_numbers():
    values = label_values(pd.Series(["1", None, "0", "-1"], dtype="string"))
    assert values.dtype == "Int64"
    assert values.tolist() == [1, pd.NA, 0, -1]
    assert label_values(pd.Series(["1.0", None, "0.0"], dtype="string")).tolist() == [1, pd.NA, 0]
    assert label_values(pd.Series(["1", "x "], dtype="string")).tolist() == ["1", "x"]


@pytest.mark.parametrize(
    ("name", "values", "ordinal", "kind", "classes"),
    [
        ("label", ["1", "0", None], False, "binary", ("0", "1")),
        ("label", ["normal", "abnormal"], False, "binary", ("normal", "abnormal")),
        ("label", ["b", "a", "c"], False, "multiclass", ("a", "b", "c")),
        ("class", ["10", "9", "2"], False, "multiclass", ("2", "9", "10")),
        ("class", ["10", "9", "2"], True, "ordinal", ("2", "9", "10")),
        ("dr_grade", ["0", "1", "2"], False, "ordinal", ("0", "1", "2")),
        ("grade", ["low", "mid", "high"], False, "multiclass", ("high", "low", "mid")),
        ("stage", ["1", "2"], False, "binary", ("1", "2")),
    ],
)
def test_kinds(name, values, ordinal, kind, classes):
    column = describe_column(name, label_values(pd.Series(values, dtype="string")), ordinal)
    assert (column.kind, column.classes) == (kind, classes)


def test_kinds_that_cannot_be():
    one = pd.Series(["1", "1", None], dtype="string")
    with pytest.raises(MedstrataError, match="'x' has 1 values"):
        describe_column("x", label_values(one), False)
    text = pd.Series(["mild", "severe", "none"], dtype="string")
    with pytest.raises(MedstrataError, match="'x' is text, so its order is unknown"):
        describe_column("x", text, True)


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["a|b", "a", "b"], "|"),
        (["a; b", "a", "b", "c"], ";"),
        (["a, b, c", "a", "b", "c"], ","),
        (["n/a or b", "a", "b"], None),
        (["left/right", "left"], None),
        (["mild, old", "severe, new"], None),
        (["1", "0"], None),
    ],
)
def test_a_separator_is_seen_where_its_parts_stand_alone_too(cells, separator):
    assert find_separator(pd.Series(cells, dtype="string")) == separator
