"""Names of the files of what a page shows."""

from medstrata.report.render.contents import Contents
from medstrata.report.render.tables import text_cells
from support.report_parts import drawn, table


def test_equal_names_get_files_of_their_own():
    contents = Contents(folder=None)
    made, _ = drawn()
    one = table(tuple(text_cells("a", "1")))
    assert [contents.add_table(number, one) for number in (1, 2)] == ["scores", "scores-2"]
    assert [contents.add_plot(0, made) for _ in range(2)] == ["p", "p-2"]
    assert [shown.number for shown in contents.tables] == [1, 2]
