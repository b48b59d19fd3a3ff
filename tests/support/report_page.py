"""A page of the report as tests read it."""

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from medstrata.report.page import write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = "<script>alert('1')</script>\"&$x_$"


class Page(HTMLParser):
    """What a test asks of a page: elements with attributes, the text, and well-formedness."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.append((self._open[-1], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        kept = " ".join(data for tag, data in self.texts if tag not in ("style", "script"))
        return " ".join(kept.split())


def write(runs: Path, to: Path) -> Page:
    """The page about runs, without its files."""
    return Page(write_report([runs], to, files=False))


def loads_and_runs_nothing(page: Page) -> None:
    links = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    ]
    assert links
    assert all(link.startswith(("#", "data:image/", "report-files/")) for link in links)
    assert not [a["src"] for _, a in page.elements if not a.get("src", "data:").startswith("data:")]
    names = Counter(name for name, _ in page.elements)
    assert not names.keys() & {"link", "iframe", "object", "embed", "form", "base"}
    assert names["script"] == 1
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    (script,) = (data for tag, data in page.texts if tag == "script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.all("meta")[1]["content"].split("; ")
    assert "default-src 'none'" in policy
    assert [one for one in policy if one.startswith("script-src")] == [
        f"script-src 'sha256-{digest}'"
    ]
    styles = " ".join(data for tag, data in page.texts if tag == "style")
    styles += " ".join(attributes.get("style") or "" for _, attributes in page.elements)
    assert "@import" not in styles
    assert set(re.findall(r"url\((.)", styles)) <= {"#"}


def is_accessible(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(one.get("scope") in ("row", "col") for one in page.all("th"))
    assert all(one["alt"] for one in page.all("img"))
    assert len(page.all("figure")) == len(page.all("figcaption"))
    drawings = [one for one in page.all("svg") if one.get("class") != "symbols"]
    assert all(one.get("aria-hidden") == "true" for one in drawings)
    assert all(one["aria-label"] for one in page.all("div") if one.get("role") == "img")


def has_unique_ids_that_links_reach(page: Page) -> None:
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert [name for name, number in ids.items() if number > 1] == []
    links = (a.get("href") or "" for _, a in page.elements)
    targets = [link[1:] for link in links if link.startswith("#")]
    clips = [re.findall(r"url\(#([^)]+)\)", a.get("clip-path") or "") for _, a in page.elements]
    assert {*targets, *(one for clip in clips for one in clip)} <= set(ids)
