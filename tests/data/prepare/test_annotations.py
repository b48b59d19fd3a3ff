"""Rows of a label table find their images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.annotations import annotate, file_names, match_files
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.sources import Sources
from medstrata.data.tables import read_table
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


def test_join_says_what_is_missing_on_each_side(tmp_path, capsys):
    path = write(tmp_path, "file,label\na.png,0\nb.png,1\nq.png,0\nr.png,1\ns.png,0\nt.png,1\n,1\n")
    found = joined(path, ("a.png", "b.png", "c.png"), label_columns=["label"])
    assert found.rows["label.label"].tolist() == [0, 1, pd.NA]
    assert found.rows["listed"].tolist() == [True, True, False]
    assert found.unmatched == [(name, "missing") for name in ("q.png", "r.png", "s.png", "t.png")]
    text = " ".join(capsys.readouterr().err.split())
    assert "4 rows have no image: q.png, r.png, s.png, ..." in text
    assert "1 images have no row and stay unlabelled: c.png" in text
    assert "1 rows name no file in column 'file'" in text


def test_join_refuses_rows_that_contradict_each_other(tmp_path):
    path = write(tmp_path, "file,label\na.png,0\na.png,1\nb.png,1\n")
    with pytest.raises(MedstrataError, match=r"contradict each other in label: a\.png; leave"):
        joined(path, ("a.png", "b.png"), label_columns=["label"])
    path = write(tmp_path, "file,label\na.png,0\na.png,\nb.png,1\n")
    with pytest.raises(MedstrataError, match="contradict"):
        joined(path, ("a.png", "b.png"), label_columns=["label"])


def test_join_drops_rows_that_repeat_another(tmp_path, capsys):
    text = "file,label,note\na.png,0,x\na.png,0,other\nb.png,1,y\n"
    found = joined(write(tmp_path, text), ("a.png", "b.png"), label_columns=["label"])
    assert found.rows["label.label"].tolist() == [0, 1]
    assert "1 rows repeat another and were left out" in capsys.readouterr().err


def test_join_without_any_match_fails(tmp_path):
    path = write(tmp_path, "file,label\nx.png,0\ny.png,1\n")
    with pytest.raises(MedstrataError, match=r"none of its 2 file names is an image here.*x\.png"):
        joined(path, ("a.png",))


@pytest.mark.parametrize(
    ("named", "image", "tip"),
    [
        ("13", "x/00000013.png", "leading zeros, .0 or case: write them in the table as on the"),
        ("3.0", "3.png", "leading zeros, .0 or case"),
        ("IMG7.PNG", "img007.png", "leading zeros, .0 or case"),
        ("p1", "scan.png", "name another column by --file-column"),
    ],
)
def test_the_tip_is_about_what_differs(tmp_path, named, image, tip):
    path = write(tmp_path, f"file,label\n{named},0\n")
    with pytest.raises(MedstrataError) as caught:
        joined(path, (image,))
    assert tip in str(caught.value)


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


def test_several_findings_in_a_cell_become_columns(tmp_path, capsys):
    cells = ["Edema|Effusion", "Edema", "No Finding", " Effusion ", "", "Effusion|Edema"]
    rows = "".join(f"{number}.png,{cell}\n" for number, cell in enumerate(cells))
    path = write(tmp_path, f"file,Finding Labels\n{rows}")
    names = tuple(f"{number}.png" for number in range(6))
    found = joined(path, names, label_columns=["Finding Labels"], label_separator="|")
    assert list(found.columns) == ["Edema", "Effusion"]
    assert found.columns["Edema"].kind == "binary"
    assert found.rows["label.Edema"].tolist() == [1, 1, 0, 0, pd.NA, 1]
    assert found.rows["label.Effusion"].tolist() == [1, 0, 0, 1, pd.NA, 1]
    assert "--label-separator" not in capsys.readouterr().err
    joined(path, names, label_columns=["Finding Labels"])
    said = " ".join(capsys.readouterr().err.split())
    assert "several findings in a cell (Edema|Effusion)" in said
    assert "--label-separator '|' makes a 0/1 column of each" in said


def test_findings_are_guessed_however_many_ways_they_are_put_together(tmp_path):
    findings = [f"f{number}" for number in range(9)]
    cells = [f"{one}|{other}" for one in findings for other in findings if one < other]
    rows = "".join(f"{number}.png,{cell},{number % 2}\n" for number, cell in enumerate(cells))
    path = write(tmp_path, f"file,found,sick\n{rows}")
    names = tuple(f"{number}.png" for number in range(len(cells)))
    found = joined(path, names, label_separator="|")
    assert list(found.columns) == [*findings, "sick"]


def test_findings_of_one_name_are_refused(tmp_path):
    path = write(tmp_path, "file,a,b\n1.png,x|y,x\n2.png,x,x|z\n")
    with pytest.raises(MedstrataError, match="two label columns would be called 'x'"):
        joined(path, ("1.png", "2.png"), label_columns=["a", "b"], label_separator="|")
