"""Which tables and pictures a page shows, in its order: what is shown is what goes to files."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from medstrata.report.render.figures import Plot
from medstrata.report.render.tables import Table, unique_name

ShownT = TypeVar("ShownT", Table, Plot)


@dataclass(frozen=True)
class Entry(Generic[ShownT]):
    """A table or picture: its number in the page, 0 for none, and the name of its files."""

    number: int
    file: str
    shown: ShownT


@dataclass(kw_only=True)
class Contents:
    """Filled while the page is made; `folder` is the name of the folder for files, or None."""

    folder: str | None
    tables: list[Entry[Table]] = field(default_factory=list)
    plots: list[Entry[Plot]] = field(default_factory=list)

    def add_table(self, number: int, table: Table) -> str:
        """Note a table and return the name of its files."""
        return _add(self.tables, number, table.name, table)

    def add_plot(self, number: int, plot: Plot) -> str:
        """Note a picture and return the name of its files."""
        return _add(self.plots, number, plot.words.name, plot)


def _add(entries: list[Entry[ShownT]], number: int, name: str, shown: ShownT) -> str:
    file = unique_name(name, {one.file for one in entries})
    entries.append(Entry(number, file, shown))
    return file
