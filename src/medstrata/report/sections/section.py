"""A section of the page, whatever it is about."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from medstrata.report.compare.comparison import Comparison, RunT
from medstrata.report.read.facts import ReportNote
from medstrata.report.render.parts import Collapsible, Heading, Part, Sheet


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the page; one without parts is not shown, but its notes are.

    Attributes:
        anchor: Where a link leads; unique in the page.
        title: Its heading.
        short: Its name in the list of sections.
        lead: How to read it, before everything else; may be empty.
        parts: What it holds, in order.
        notes: What it could not show, and why.
    """

    anchor: str
    title: str
    short: str
    lead: str = ""
    parts: Sequence[Part]
    notes: Sequence[ReportNote] = ()


def without_images(parts: Sequence[Part]) -> list[Part]:
    """All that shows no image of a data set."""
    return [
        replace(part, parts=without_images(part.parts)) if isinstance(part, Collapsible) else part
        for part in parts
        if not isinstance(part, Sheet)
    ]


def headed_parts(
    comparisons: Sequence[Comparison[RunT]], make: Callable[[Comparison[RunT]], Iterable[Part]]
) -> list[Part]:
    """What `make` gives of each comparison, under its heading; nothing of one that gives none."""
    made = ((one.heading, list(make(one))) for one in comparisons)
    return [part for heading, parts in made if parts for part in (Heading(heading), *parts)]
