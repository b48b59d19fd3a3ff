"""Text that a terminal or a spreadsheet would act on, and the way back to what was written."""

import csv
import io

import pytest

from medstrata.runtime.harmless import csv_lines, csv_value, visible

HOSTILE = [
    "=cmd|'/C calc'!A0",
    "+SUM(1,2)",
    "-2+3",
    "@import",
    "＝1+1",
    "'=already guarded",
    "''=twice",
    "'quoted'",
    "note;=HYPERLINK(1)",
    "\t=1",
    "\r=1",
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "a\u202egnp.exe",
    "a\u2028b",
    "<U+001B>",
    "<U+003C>U+001B>",
    "NUL\0",
    'say "=1"',
    "name\udcff.png",
    "Müller, Zoë; 心",
]


def test_cells_are_not_run_and_give_back_what_they_held() -> None:
    text = csv_lines([HOSTILE])
    assert text.count("\n") == 1
    (cells,) = csv.reader(io.StringIO(text))
    for cell in cells:
        assert all(part[:1] not in tuple("=+-@＝＋－＠\t\r") for part in cell.split(";"))
        assert cell.isprintable()
    assert [csv_value(cell) for cell in cells] == HOSTILE


@pytest.mark.parametrize("number", ["-1", "+5", "-0.5", "1e-3", "-1.5E+10", "007", -0.25, 3])
def test_numbers_stay_numbers(number: object) -> None:
    assert csv_lines([["id", number]]) == f"id,{number}\n"


def test_plain_text_stays_and_nothing_is_an_empty_cell() -> None:
    row = ["images/p-1/a_b.png", "Ödem", "it's", "a-b", None, "x<y", "1/2"]
    assert csv_lines([row]) == "images/p-1/a_b.png,Ödem,it's,a-b,,x<y,1/2\n"


def test_what_acts_on_a_terminal_is_written_out() -> None:
    assert visible("\x1b[2Ja\nb\u202ec") == "<U+001B>[2Ja<U+000A>b<U+202E>c"
    assert visible("Ödem − 心 \N{NO-BREAK SPACE}", keep="\n") == "Ödem − 心 \N{NO-BREAK SPACE}"
    assert visible("a\tb\nc", keep="\n\t") == "a\tb\nc"
