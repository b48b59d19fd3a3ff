"""Which tables and pictures a page shows, in its order: what is shown is what goes to files."""

from dataclasses import dataclass, field

from medstrata.report.render.figures import Plot
from medstrata.report.render.tables import Table, unique_name


@dataclass(frozen=True, kw_only=True)
class ListedTable:
    """A table with its number in the page and the name of its files."""

    number: int
    file: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class ListedPlot:
    """A picture with the number of its figure, 0 where it has none, and the name of its files."""

    number: int
    file: str
    plot: Plot


@dataclass(kw_only=True)
class Contents:
    """Filled while the page is made; `folder` is the name of the folder for files, or None."""

    folder: str | None
    tables: list[ListedTable] = field(default_factory=list)
    plots: list[ListedPlot] = field(default_factory=list)

    def add_table(self, number: int, table: Table) -> str:
        """Note a table and return the name of its files."""
        file = unique_name(table.name, {shown.file for shown in self.tables})
        self.tables.append(ListedTable(number=number, file=file, table=table))
        return file

    def add_plot(self, number: int, plot: Plot) -> str:
        """Note a picture and return the name of its files."""
        file = unique_name(plot.words.name, {shown.file for shown in self.plots})
        self.plots.append(ListedPlot(number=number, file=file, plot=plot))
        return file
