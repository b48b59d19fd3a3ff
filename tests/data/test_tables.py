from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.annotations import annotate, file_names, match_files
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import Sources, clean_name
from medstrata.data.tables import (
    describe_column,
    guess_file_column,
    guess_label_columns,
    guess_patient_column,
    label_values,
    read_table,
)
from medstrata.runtime.errors import MedstrataError


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def sources(*names: str) -> Sources:
    none = np.full(len(names), -1)
    return Sources(Path("/data"), list(names), np.arange(len(names)), none, [], "")


def joined(path: Path, names: tuple[str, ...], **options):
    table = read_table(path)
    split = options.pop("split_column", None)
    files = file_names(table, path, None, Path("/data"))
    return annotate(sources(*names), table, files, path, PrepareSettings(**options), split)


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
    assert guess_file_column(table) == file
    assert guess_patient_column(table) == patient


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
    ("names", "rows", "expected"),
    [
        (["a.png", "b.png"], ["b.png", "a.png", "b.png", None], [1, 0, 1, -1]),
        (["images/a.png", "images/b.png"], ["b.png", "a.png"], [1, 0]),
        (["images/p1/a.png", "images/p2/a.png"], ["p2/a.png", "p1/a.png"], [1, 0]),
        (["p1/a.png", "p2/a.png"], ["old/p2/a.png", "old/p1/a.png"], [1, 0]),
        (["p1/a.png", "p2/a.png"], ["a.png"], [-1]),
        (["10_left.jpeg", "10_right.jpeg"], ["10_right", "10_left"], [1, 0]),
        (["train/10_left.jpeg"], ["10_left"], [0]),
        (["a.png"], ["a.dcm"], [0]),
        (["a.png", "a.jpg"], ["a"], [-1]),
        (["1.2.840.png", "1.2.841.png"], ["1.2.841", "1.2.840"], [1, 0]),
        # Neither of two names may take the one image whose last part they share.
        (["images/1.png"], ["train/1.png", "test/1.png"], [-1, -1]),
        (["test/1.png"], ["train/1.png", "test/1.png"], [-1, 0]),
        (["a.png"], [None], [-1]),
    ],
)
def test_rows_find_their_images(names, rows, expected):
    files = pd.Series(rows, dtype="string")
    assert match_files(names, files).tolist() == expected


def test_clean_names():
    assert clean_name(" ./a\\b/../c.png", Path("/data")) == "a/c.png"
    assert clean_name("/data/x/c.png", Path("/data")) == "x/c.png"
    assert clean_name("/other/c.png", Path("/data")) == "/other/c.png"
    assert clean_name("a/../../c.png", Path("/data")) == "../c.png"


def test_join_says_what_is_missing_on_each_side(tmp_path, capsys):
    path = write(tmp_path, "file,label\na.png,0\nb.png,1\nq.png,0\nr.png,1\ns.png,0\nt.png,1\n,1\n")
    found = joined(path, ("a.png", "b.png", "c.png"), label_columns=["label"])
    assert found.labels["label"].tolist() == [0, 1, pd.NA]
    assert found.listed.tolist() == [True, True, False]
    assert found.unmatched == [(name, "missing") for name in ("q.png", "r.png", "s.png", "t.png")]
    text = " ".join(capsys.readouterr().err.split())
    assert "4 rows have no image: q.png, r.png, s.png, ..." in text
    assert "1 images have no row and stay unlabelled: c.png" in text
    assert "1 rows name no file in column 'file'" in text
    assert "each image counts as a patient of its own" in text


def test_join_refuses_rows_that_contradict_each_other(tmp_path):
    path = write(tmp_path, "file,label\na.png,0\na.png,1\nb.png,1\n")
    with pytest.raises(MedstrataError, match=r"1 images have rows that contradict.*: a\.png"):
        joined(path, ("a.png", "b.png"), label_columns=["label"])
    path = write(tmp_path, "file,label\na.png,0\na.png,\nb.png,1\n")
    with pytest.raises(MedstrataError, match="contradict"):
        joined(path, ("a.png", "b.png"), label_columns=["label"])


def test_join_drops_rows_that_repeat_another(tmp_path, capsys):
    text = "file,label,note\na.png,0,x\na.png,0,other\nb.png,1,y\n"
    found = joined(write(tmp_path, text), ("a.png", "b.png"), label_columns=["label"])
    assert found.labels["label"].tolist() == [0, 1]
    assert "1 rows repeat another and were left out" in capsys.readouterr().err


def test_join_without_any_match_fails(tmp_path):
    path = write(tmp_path, "file,label\nx.png,0\ny.png,1\n")
    with pytest.raises(MedstrataError, match=r"none of its 2 file names is an image here.*x\.png"):
        joined(path, ("a.png",))


def test_named_columns_must_be_there(tmp_path):
    path = write(tmp_path, "file,label\na.png,0\nb.png,1\n")
    for option, value in (
        ("patient_column", "who"),
        ("label_columns", ["who"]),
        ("ordinal_columns", ["who"]),
        ("split_column", "who"),
    ):
        with pytest.raises(MedstrataError, match=r"no column 'who'.*it has file, label"):
            joined(path, ("a.png", "b.png"), **{option: value})
    with pytest.raises(MedstrataError, match="looks like file names; name it with --file-column"):
        joined(write(tmp_path, "x,y\n1,2\n"), ("a.png",))


def test_labels_of_other_images_do_not_count(tmp_path):
    rows = "".join(f"{name}.png,{name in 'xyz'},{name in 'ax'}\n" for name in "abcdxyz")
    path = write(tmp_path, "file,elsewhere,here\n" + rows)
    found = joined(path, ("a.png", "b.png", "c.png", "d.png"))
    assert list(found.columns) == ["here"]
