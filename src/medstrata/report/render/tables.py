"""Tables as data, so that the page, a CSV file and a LaTeX file say the same."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from medstrata.report.render.formatting import percent, score_text
from medstrata.report.render.run_summary import Summary

Key = TypeVar("Key")


@dataclass(frozen=True)
class TableCell:
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

    kind: ClassVar = "table"
    name: str
    caption: str
    heads: tuple[TableCell, ...]
    rows: tuple[tuple[TableCell, ...], ...]
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


def text_cells(*words: str) -> tuple[TableCell, ...]:
    """Heads of columns."""
    return tuple(TableCell(text=word) for word in words)


def count_cell(number: int | None, *notes: str) -> TableCell:
    """A number of things, a dash where it is not known."""
    return TableCell(text="–") if number is None else TableCell(f"{number:,}", number, notes=notes)


def number_cell(
    value: float | None,
    *notes: str,
    interval: tuple[float, float] | None = None,
    best: bool = False,
    missing: str = "–",
    write: Callable[[float], str] = score_text,
) -> TableCell:
    """A number as it is written, or what stands for it where there is none.

    Args:
        value: The number, if there is one.
        notes: Small lines beneath.
        interval: Both ends, shown in brackets beneath.
        best: Whether it is marked as the best of its column.
        missing: Stands for a number that is not there.
        write: Makes text of the number.
    """
    if value is None:
        return TableCell(text=missing)
    return TableCell(write(value), value, interval, notes, best)


def summary_cell(summary: Summary | None, *notes: str, best: bool = False) -> TableCell:
    """A score with its interval."""
    if summary is None:
        return TableCell(text="no score")
    return number_cell(summary.value, *notes, interval=summary.interval, best=best)


def arm_cell(arm: str, *notes: str) -> TableCell:
    """The head of a row about an arm."""
    return TableCell(text=arm, arm=arm, notes=notes)


def labels_head(fraction: float, *notes: str) -> TableCell:
    """The head of a column about a share of the labels."""
    return TableCell(text=f"{percent(fraction)} of labels", notes=notes)


def arm_table(
    name: str,
    caption: str,
    arms: Iterable[str],
    heads: Mapping[Key, TableCell],
    cells: Mapping[tuple[str, Key], TableCell],
    *,
    missing: str = "no score",
    note: str = "",
) -> Table:
    """A table with a row for each arm.

    Args:
        name: Of its files.
        caption: One sentence.
        arms: In order.
        heads: What a column is about -> its head, in order.
        cells: (arm, what a column is about) -> cell.
        missing: What stands where there is none.
        note: What a reader must know to read it.
    """
    return Table(
        name=name,
        caption=caption,
        heads=(TableCell("Arm"), *heads.values()),
        rows=tuple(
            (arm_cell(arm), *(cells.get((arm, key), TableCell(missing)) for key in heads))
            for arm in arms
        ),
        note=note,
    )


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
