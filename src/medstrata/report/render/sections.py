"""What a section of the page is made of, whatever it is about."""

from collections.abc import Iterable
from dataclasses import dataclass

from medstrata.report.render.figures import Plot
from medstrata.report.render.tables import Table


@dataclass(frozen=True, kw_only=True)
class Block:
    """What a section has to say about one task, store and protocol, or about all.

    Attributes:
        heading: What it is about.
        text: A sentence before the tables, or empty.
        tables: In full view.
        folded: Tables that a reader opens, under `folded_title`.
        plots: Drawn side by side under one key and one caption.
        arms: The key.
        caption: What the pictures show.
    """

    heading: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    folded_title: str = ""
    plots: tuple[Plot, ...] = ()
    arms: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: Where a link leads; unique in the page.
        title: Its heading.
        short: Its name in the list of sections.
        lead: How to read it.
        blocks: What it holds, in order.
    """

    anchor: str
    title: str
    short: str
    lead: str
    blocks: tuple[Block, ...]


def table_block(heading: str, table: Table | None) -> Block | None:
    """A table alone; None without it."""
    return None if table is None else Block(heading=heading, tables=(table,))


def section_of(
    blocks: Iterable[Block | None], *, anchor: str, title: str, short: str, lead: str
) -> Section | None:
    """A section of the blocks there are; None where there is none."""
    kept = tuple(block for block in blocks if block is not None)
    if not kept:
        return None
    return Section(anchor=anchor, title=title, short=short, lead=lead, blocks=kept)
