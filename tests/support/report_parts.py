"""A small table and a small figure of a report, to be named and written."""

from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.report.render.figures import (
    INK,
    MUTED,
    RULE,
    Plot,
    PlotWords,
    Style,
    arm_styles,
    page_style,
    plot,
    tag_artists,
)
from medstrata.report.render.tables import Table, text_cells


def table(*rows: Any, heads: tuple[str, ...] = ("Arm", "Score"), **changes: Any) -> Table:
    """A table of these rows."""
    facts: dict[str, Any] = {"name": "scores", "caption": "Scores", "note": ""} | changes
    return Table(heads=text_cells(*heads), rows=rows, **facts)


def drawn(arm: str = "$moco") -> tuple[Plot, dict[str, Style]]:
    """A figure with a line of an arm, and the styles it was drawn in."""
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
