"""Names of the files of what a page shows."""

from medstrata.report.render.contents import Contents
from medstrata.report.render.tables import text_cells
from support.report_parts import drawn, table


def test_equal_names_get_files_of_their_own():
    contents = Contents(folder=None)
    made, _ = drawn()
    one = table(tuple(text_cells("a", "1")))
    assert [contents.add_table(number, one) for number in "12"] == ["scores", "scores-2"]
    assert [contents.add_plot("", made) for _ in range(2)] == ["p", "p-2"]
    assert [shown.number for shown in contents.tables] == ["1", "2"]


def test_what_is_folded_takes_no_number_of_what_is_seen():
    contents = Contents(folder=None)

    def numbers(count, by):
        contents.fold(by)
        made = [contents.next_number("table") for _ in range(count)]
        contents.fold(-by)
        return made

    assert [contents.next_number("table") for _ in range(2)] == ["1", "2"]
    assert numbers(3, 1) == ["2.1", "2.2", "2.3"]
    assert contents.next_number("table") == "3"
    assert numbers(1, 1) == ["3.1"]
    assert contents.next_number("figure") == "1"
