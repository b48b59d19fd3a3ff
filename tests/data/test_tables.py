"""Label tables as users write them."""

import gzip
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
    [("", "not a UTF-8 CSV"), ("file,label\n", "no rows"), ('a,b\n"x', "not a UTF-8 CSV")],
)
def test_unusable_tables_say_so(tmp_path, text, message):
    with pytest.raises(MedstrataError, match=message):
        read_table(write(tmp_path, text))
    (tmp_path / "latin.csv").write_bytes("file,näme\n".encode("latin-1"))
    with pytest.raises(MedstrataError, match="UTF-8"):
        read_table(tmp_path / "latin.csv")
    with pytest.raises(MedstrataError, match="missing"):
        read_table(tmp_path / "none.csv")


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


def test_other_kinds_of_tables_are_named(tmp_path):
    for name, data, kind in (
        ("a.xlsx", b"PK\x03\x04....", "an Excel or zip file"),
        ("b.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel file"),
        ("c.json", b' [{"file": "a.png"}]', "JSON"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MedstrataError, match=f"is {kind}: save the table in it as CSV"):
            read_table(tmp_path / name)


def test_gzipped_tables_are_read(tmp_path):
    data = gzip.compress(b"file;x\na;1\n")
    (tmp_path / "t.csv.gz").write_bytes(data)
    assert read_table(tmp_path / "t.csv.gz").to_dict("list") == {"file": ["a"], "x": ["1"]}
    (tmp_path / "cut.csv.gz").write_bytes(data[:-6])
    with pytest.raises(MedstrataError, match=r"cut\.csv\.gz is not a UTF-8 CSV or Parquet table"):
        read_table(tmp_path / "cut.csv.gz")
