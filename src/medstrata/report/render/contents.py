"""Which tables and pictures a page shows, in its order: what is shown is what goes to files."""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from medstrata.report.render.figures import Plot
from medstrata.report.render.tables import Table, unique_name

ShownT = TypeVar("ShownT", Table, Plot)


@dataclass(frozen=True)
class Entry(Generic[ShownT]):
    """A table or picture: its number in the page, empty for none, and the name of its files."""

    number: str
    file: str
    shown: ShownT


@dataclass(kw_only=True)
class Contents:
    """Filled while the page is made.

    Attributes:
        folder: The name of the folder for files, or None.
        figures: Whether figures are among these.
        tables: What is shown, in order.
        plots: Likewise.
    """

    folder: str | None
    figures: bool = False
    tables: list[Entry[Table]] = field(default_factory=list)
    plots: list[Entry[Plot]] = field(default_factory=list)
    _folds: int = 0
    # Of what was numbered last, and of what is folded beneath it.
    _numbers: dict[str, tuple[int, int]] = field(default_factory=dict)

    def fold(self, by: Literal[1, -1]) -> None:
        """Note that what comes next is folded into what stands before it, or no longer."""
        self._folds += by

    def next_number(self, kind: Literal["table", "figure"]) -> str:
        """The number of the next one, as they stand in the page before anything is opened.

        What is folded takes none of these: beneath Table 3 it is 3.1, 3.2 and so on.
        """
        number, inner = self._numbers.get(kind, (0, 0))
        self._numbers[kind] = (number, inner + 1) if self._folds and number else (number + 1, 0)
        return ".".join(str(one) for one in self._numbers[kind] if one)

    def add_table(self, number: str, table: Table) -> str:
        """Note a table and return the name of its files."""
        return _add(self.tables, number, table.name, table)

    def add_plot(self, number: str, plot: Plot) -> str:
        """Note a picture and return the name of its files."""
        return _add(self.plots, number, plot.words.name, plot)


def _add(entries: list[Entry[ShownT]], number: str, name: str, shown: ShownT) -> str:
    file = unique_name(name, {one.file for one in entries})
    entries.append(Entry(number, file, shown))
    return file
