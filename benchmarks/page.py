"""Write docs/performance.md from benchmarks/results, and print every target beside its figure.

    python benchmarks/page.py [--check]

A part of the page is made by the benchmark that measured it, from its result files alone:

    def section() -> Section:
        rows = read_result("audit")["rows"]
        cells = [[number(row["images"]), gib(row["peak_gib"])] for row in rows]
        words = "`python benchmarks/audit.py`: one thread, generated fingerprints."
        shown = table(["images", "most memory"], cells)
        curve = picture("audit", "Most memory over the number of images")
        what = "search for copies, 1,000,000 images, most memory"
        return Section(
            title="Search for copies",
            text=paragraphs(words, shown, curve),
            targets=[Target(what, 1, rows[-1]["peak_gib"], "GiB", at_most=True)],
            figures={"audit": drawn(rows)},
        )

It lets the error of `read_result` pass where nothing was measured: the page then says so.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import RESULTS, Section, Target, read_result
from medstrata.runtime.files import replacing, write_text
from wording import PICTURES, measured_on, number, paragraphs, processor, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNFOLDED = 180  # columns of the table in a log, a target a line
PAGE = RESULTS.parent.parent / "docs" / "performance.md"
HEAD = (
    "`make bench` measures all of this anew; `python benchmarks/page.py` writes this page from "
    "`benchmarks/results/`, so change a benchmark's `section()` and not the page. Ratios come from "
    "interleaved runs on one machine, which stands under each heading; only ratios carry over. A "
    "figure with two others in brackets is a median with its quartiles."
)


def benchmarks() -> tuple[ModuleType, ...]:
    """The modules whose sections make the page, in its order."""
    # Here, so that a test folder's modules of the same names are not found in their place.
    import audit
    import bootstrap
    import gpu
    import knn
    import loading
    import memory
    import prepare
    import similarity
    import startup
    import step
    import views

    training = (step, memory, gpu)
    images = (views, loading, prepare, audit)
    return (*training, *images, bootstrap, similarity, knn, startup)


def collect(modules: Iterable[ModuleType]) -> list[Section]:
    """The section of each module; of one that has not been measured, a section that says so."""
    return [_section(module) for module in modules]


def _section(module: ModuleType) -> Section:
    try:
        section: Section = module.section()
    except FileNotFoundError as error:
        if error.filename is None or Path(error.filename).parent != RESULTS:
            raise
        title = (module.__doc__ or module.__name__).splitlines()[0].rstrip(".")
        missing = f"Not measured: run `python benchmarks/{module.__name__}.py`."
        return Section(title, missing, claim=missing)
    _check(section)
    if not (known := environments(module.__name__)):
        return section
    text = paragraphs(f"*{measured_on(known)}*", section.text)
    return section._replace(text=text, processors="; ".join(dict.fromkeys(map(processor, known))))


def _check(section: Section) -> None:
    """Refuse what would leave a hole in the page."""
    unexplained = [aim.what for aim in section.targets if aim.verdict == "missed" and not aim.why]
    if unexplained:
        raise ValueError(f"{section.title}: missed without a reason (why): {unexplained}")
    placed = {stem for stem in section.figures if f"]({PICTURES}{stem}.png)" in section.text}
    if placed != set(section.figures) or section.text.count(PICTURES) != len(placed):
        raise ValueError(f"{section.title}: its text and its figures name different pictures")
    if "![](" in section.text:
        raise ValueError(f"{section.title}: a picture without words for those who cannot see it")


def environments(name: str) -> list[dict[str, Any]]:
    """Of the result files of one benchmark."""
    names = sorted(path.stem for path in RESULTS.glob("*.json"))
    own = [one for one in names if one == name or one.startswith(f"{name}-")]
    return [read_result(one)["environment"] for one in own]


def page_text(sections: Sequence[Section]) -> str:
    """The whole page, from its sections."""
    targets = [aim for section in sections for aim in section.targets]
    claims = [f"- {line}" for line in (tally(targets), *(s.claim for s in sections)) if line]
    rows = [row for section in sections for row in rows_of(section)]
    aims = table(["target", "aim", "measured", "on", ""], rows, "lrrll")
    parts = ["# Performance", HEAD, "\n".join(claims)]
    parts += ["## Targets", aims]
    for section in sections:
        parts += [f"## {section.title}", section.text.strip()]
    return paragraphs(*parts) + "\n"


def tally(targets: Sequence[Target]) -> str:
    """How many targets there are and what became of them."""
    counts = dict.fromkeys(("met", "missed", "not measured here"), 0)
    for target in targets:
        counts[target.verdict] += 1
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    return f"Targets set before anything was measured: {', '.join(parts) or 'none'}."


def rows_of(section: Section) -> list[list[str]]:
    """What, aim, measured value, what measured it, and what became of it."""
    return [
        [
            target.what,
            f"{'at most' if target.at_most else 'at least'} {number(target.wanted)} {target.unit}",
            "-" if target.measured is None else f"{number(target.measured)} {target.unit}",
            "-" if target.measured is None else target.on or section.processors,
            target.verdict + (f": {target.why}" if target.why else ""),
        ]
        for target in section.targets
    ]


def pictures(sections: Iterable[Section], page: Path) -> dict[Path, "Figure"]:
    """Where each figure is saved.

    Raises:
        ValueError: two sections give one name to different figures.
    """
    found: dict[Path, Figure] = {}
    for section in sections:
        for stem, figure in section.figures.items():
            path = page.parent / f"{PICTURES}{stem}.png"
            if path in found:
                raise ValueError(f"{section.title}: another section has a figure {stem!r}")
            found[path] = figure
    return found


def old_pictures(page: Path) -> set[Path]:
    """Figures that lie beside the page."""
    return set(page.parent.glob(f"{PICTURES}*.png"))


def write(text: str, figures: Mapping[Path, "Figure"], page: Path) -> None:
    """Write the page and its pictures; remove pictures that it no longer shows."""
    for path in old_pictures(page) - set(figures):
        path.unlink()
    for path, figure in figures.items():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
    write_text(page, text)


def differences(text: str, figures: Iterable[Path], page: Path) -> list[str]:
    """Lines and pictures in which the page on disk is not this one; pixels are not compared."""
    there = page.read_text("utf-8") if page.is_file() else ""
    lines = difflib.unified_diff(
        there.splitlines(), text.splitlines(), "the page", "the results", lineterm="", n=0
    )
    wrong = sorted(old_pictures(page) ^ set(figures))
    return [*lines, *(f"missing or not wanted: {path.name}" for path in wrong)]


def show(sections: Sequence[Section], console: Console) -> None:
    """Every target beside its figure; a narrow terminal folds words, never numbers."""
    colours = {"met": "green", "missed": "red", "not measured here": "yellow"}
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("target", overflow="fold")
    grid.add_column("aim", justify="right", overflow="fold")
    grid.add_column("measured", justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    targets = [target for section in sections for target in section.targets]
    rows = [row for section in sections for row in rows_of(section)]
    for target, row in zip(targets, rows, strict=True):
        what, aim, measured, *_ = (escape(cell) for cell in row)
        colour = colours[target.verdict]
        grid.add_row(what, aim, measured, f"[{colour}]{target.verdict}[/]")
    console.print(grid)
    console.print(tally(targets), highlight=False)


def main(words: Sequence[str] | None = None) -> int:
    """Write or check the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is out of date"
    )
    check = parser.parse_args(words).check
    sections = collect(benchmarks())
    text, figures = page_text(sections), pictures(sections, PAGE)
    if not check:
        write(text, figures, PAGE)
        show(sections, Console(width=None if sys.stdout.isatty() else UNFOLDED))
        print(PAGE)
        return 0
    wrong = differences(text, figures, PAGE)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        print(f"{PAGE} is not what benchmarks/results give: run python benchmarks/page.py")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
