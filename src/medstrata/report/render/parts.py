"""What a section of the page is made of, whatever it is about; the templates show each part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from medstrata.report.render.figures import Plot
from medstrata.report.render.inline_images import InlineImage
from medstrata.report.render.tables import Table


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar = "heading"
    text: str
    level: int = 3


@dataclass(frozen=True)
class Text:
    """A paragraph; `css_class` is "lead", "note", "panel" or empty."""

    kind: ClassVar = "text"
    text: str
    css_class: str = ""


@dataclass(frozen=True)
class DefinitionList:
    """What is said of several things: (thing, sentence)."""

    kind: ClassVar = "terms"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Bullets:
    """A list; each point begins with a word that stands out, or with an empty one."""

    kind: ClassVar = "bullets"
    points: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class ColourKey:
    """What colours stand for; `entries` are (colour, name, images)."""

    by: str
    entries: Sequence[tuple[str, str, int]]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures side by side.

    Attributes:
        plots: The pictures.
        caption: What they show; a figure without one has no number.
        key: The arms they are about.
        colours: What their colours stand for, in place of a key of arms.
        layout: "", "pair", "pair from-top", "charts" or "maps".
        owner: The arm that all are about, if it is one.
        owners: The arm that each is about, or nothing.
    """

    kind: ClassVar = "pictures"
    plots: Sequence[Plot]
    caption: str = ""
    key: Sequence[str] = ()
    colours: ColourKey | None = None
    layout: str = "pair"
    owner: str | None = None
    owners: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A picture of images of the data set; `css_class` is "sheet" or "views"."""

    kind: ClassVar = "sheet"
    image: InlineImage
    alt: str
    caption: str
    css_class: str


@dataclass(frozen=True, kw_only=True)
class Collapsible:
    """What a reader opens; `owner` is the arm it is about, if it is one."""

    kind: ClassVar = "folded"
    title: str
    parts: "Sequence[Part]"
    owner: str | None = None


Part = Heading | Text | DefinitionList | Bullets | Table | Pictures | Sheet | Collapsible
