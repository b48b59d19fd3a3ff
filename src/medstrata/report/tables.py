"""Tables as data, so that the page, a CSV file and a LaTeX file say the same."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One place of a table.

    Attributes:
        text: As it is read.
        number: What a column is sorted by and what a CSV file holds; None sorts by the text.
        notes: Small lines beneath, such as an interval or the number of seeds.
        best: Whether it is marked as the best of its column.
        arm: The arm it names: drawn with the arm's symbol; its row hides with the arm.
    """

    text: str
    number: float | None = None
    notes: tuple[str, ...] = ()
    best: bool = False
    arm: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataTable:
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
    heads: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]
    note: str = ""
