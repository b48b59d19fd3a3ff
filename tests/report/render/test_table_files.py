"""Tables as CSV and LaTeX."""

import io
import re

import pandas as pd
import pytest

from medstrata.report.render.table_files import csv_text, latex_text
from medstrata.report.render.tables import TableCell, text_cells
from support.report_parts import table

SPECIAL = "100% a_b & #1 $x$ {y} ~ ^ \\ <z> |"


@pytest.fixture
def scores():
    """A score with everything, and none."""
    full = TableCell(
        text="−0.123",
        number=-0.12345678901234567,
        interval=(-0.25, 0.5),
        notes=("2 seeds: −0.2 to 0.1", 'x, "y"'),
        best=True,
    )
    return table(
        (TableCell(text=SPECIAL, arm=SPECIAL), full),
        (TableCell(text="[b]"), TableCell(text="no score")),
        (TableCell(text="* c"), TableCell(text="1,200", number=1200)),
    )


def test_csv_comes_back_through_pandas(scores):
    read = pd.read_csv(io.StringIO(csv_text(scores)))
    assert list(read) == ["Arm", "Score", "Score: low", "Score: high", "Score: notes"]
    assert list(read["Arm"]) == [SPECIAL, "[b]", "* c"]
    assert read["Score"][0] == -0.12345678901234567
    assert read["Score"].isna().tolist() == [False, True, False]
    assert read["Score"][2] == 1200
    assert (read["Score: low"][0], read["Score: high"][0]) == (-0.25, 0.5)
    assert read["Score: notes"][0] == '2 seeds: -0.2 to 0.1; x, "y"'
    assert read["Score: notes"][1] == "no score"


def test_csv_has_one_line_a_row_whatever_is_in_it():
    text = csv_text(table(tuple(text_cells("a\r\nb", "c\N{NO-BREAK SPACE}d\ne"))))
    assert text == "Arm,Score\na b,c d e\n"


def test_whole_numbers_stay_whole():
    assert csv_text(table((TableCell(text="a"), TableCell(text="1,200", number=1200)))).endswith(
        "1200\n"
    )


def test_latex_escapes_what_it_would_obey(scores):
    text = latex_text(scores, "scores")
    assert (
        r"100\% a\_b \& \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{} \textless{}z\textgreater{} \textbar{} & "
    ) in text
    assert r"\textbf{$-$0.123} [$-$0.250, 0.500] (2 seeds: $-$0.2 to 0.1; " in text


def test_latex_rows_end_and_none_begins_with_an_option(scores):
    text = latex_text(scores, "scores")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:-1]
    assert len(body) == 3
    assert all(line.endswith(r" \\") for line in body)
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [1, 1, 1]
    assert body[1].strip().startswith("{[}b]")
    assert body[2].strip().startswith("{*} c")


def test_latex_is_balanced_and_has_caption_and_label(scores):
    text = latex_text(scores, "a-table")
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == 1
        assert text.count(rf"\end{{{environment}}}") == 1
    assert r"\caption{Scores}" in text
    assert r"\label{tab:a-table}" in text
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert r"\toprule" in text


def test_columns_of_bare_numbers_stand_to_the_right(scores):
    assert r"\begin{tabular}{ll}" in latex_text(scores, "n")
    bare = table(
        (TableCell(text="a"), TableCell(text="1", number=1)),
        (TableCell(text="b"), TableCell(text="–")),
    )
    assert r"\begin{tabular}{lr}" in latex_text(bare, "n")
