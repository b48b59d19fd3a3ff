"""Tables as data, so that the page, a CSV file and a LaTeX file say the same."""

from collections.abc import Container, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place of a table.

    Attributes:
        text: As it is read.
        number: What a column is sorted by and what a CSV file holds; None sorts by the text.
        interval: Both ends, shown in brackets beneath; columns of their own in a CSV file.
        notes: Small lines beneath, such as the number of seeds.
        best: Whether it is marked as the best of its column.
        arm: The arm it names: drawn with the arm's symbol; its row hides with the arm.
    """

    text: str
    number: float | None = None
    interval: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    best: bool = False
    arm: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: Of its files, unique in a report: lower-case words joined by hyphens.
        caption: One sentence, without a number.
        heads: Of the columns; notes stand beneath.
        rows: As many entries as heads, the first heading the row.
        note: What a reader must know to read it, or empty.
    """

    name: str
    caption: str
    heads: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def bare_numbers(self) -> tuple[bool, ...]:
        """For each column, whether it holds nothing but numbers, which then stand to the right."""
        columns = [[row[place] for row in self.rows] for place in range(len(self.heads))]
        return tuple(
            any(entry.number is not None for entry in column)
            and not any(entry.notes or entry.interval or entry.arm for entry in column)
            for column in columns
        )


def text_cells(*words: str) -> tuple[Cell, ...]:
    """Heads of columns."""
    return tuple(Cell(text=word) for word in words)


def count_cell(number: int) -> Cell:
    """A number of things."""
    return Cell(text=f"{number:,}", number=number)


def unique_names(names: Iterable[str]) -> list[str]:
    """Names in the same order, the second of two equal ones with a 2 at its end, and so on."""
    given: dict[str, None] = {}
    for name in names:
        given[unique_name(name, given)] = None
    return list(given)


def unique_name(name: str, taken: Container[str]) -> str:
    """The name, with a number at its end where it is taken."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
