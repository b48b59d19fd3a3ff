"""Names of the files of what a page shows."""

from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.report.render.contents import Contents
from medstrata.report.render.figures import (
    INK,
    MUTED,
    RULE,
    PlotWords,
    arm_styles,
    page_style,
    plot,
    tag_artists,
)
from medstrata.report.render.tables import Table, text_cells


def table(*rows, heads=("Arm", "Score"), **changes) -> Table:
    facts = {"name": "scores", "caption": "Scores", "note": ""} | changes
    return Table(heads=text_cells(*heads), rows=rows, **facts)


def drawn(arm: str = "$moco"):
    styles = arm_styles([arm, "other"])
    with rc_context(page_style(9)):
        figure = Figure(figsize=(3, 2))
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        tag_artists(axes.plot([0, 1], [0, 1], color=styles[arm].colour), styles[arm])
        axes.grid(color=RULE)
        axes.text(0.5, 0.5, "words", color=MUTED)
        axes.scatter([0.2, 0.8], [0.8, 0.2], c=[INK, RULE])
        axes.fill_between([0, 0.2], 0.6, 0.9, color=RULE, alpha=0.5)
        return plot(figure, PlotWords("p", "A $title", "A line")), styles


def test_equal_names_get_files_of_their_own():
    contents = Contents(folder=None)
    made, _ = drawn()
    one = table(tuple(text_cells("a", "1")))
    assert [contents.add_table(number, one) for number in (1, 2)] == ["scores", "scores-2"]
    assert [contents.add_plot(0, made) for _ in range(2)] == ["p", "p-2"]
    assert [shown.number for shown in contents.tables] == [1, 2]
