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
from medstrata.files import replacing, write_text
from wording import PICTURES, UNKNOWN, hardware, number, paragraphs, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = RESULTS.parent.parent / "docs" / "performance.md"
HEAD = (
    "`make bench` measures all of this anew; `python benchmarks/page.py` writes this page from "
    "`benchmarks/results/`, so change a benchmark's `section()` and not the page. Ratios come from "
    "interleaved runs on one machine; only ratios carry over. A figure with two others in brackets "
    "is a median with its quartiles."
)


def benchmarks() -> tuple[ModuleType, ...]:
    """The modules whose sections make the page, in its order."""
    # Here, so that a test folder's modules of the same names are not found in their place.
    import audit
    import bootstrap
    import ceiling
    import exactness
    import gpu
    import growth
    import ideas
    import knn
    import loading
    import memory
    import pooling
    import prepare
    import scale
    import similarity
    import startup
    import step
    import views

    training = (ceiling, step, ideas, exactness, pooling, memory, gpu)
    images = (views, loading, prepare, audit, scale)
    return (*training, *images, bootstrap, similarity, knn, growth, startup)


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
    return section


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


def records() -> dict[str, dict[str, Any]]:
    """The environment of every result file, by name."""
    names = sorted(path.stem for path in RESULTS.glob("*.json"))
    return {name: read_result(name).get("environment", {}) for name in names}


def page_text(sections: Sequence[Section], environments: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page, from its sections and the record of each result file."""
    targets = [aim for section in sections for aim in section.targets]
    claims = [f"- {line}" for line in (tally(targets), *(s.claim for s in sections)) if line]
    rows = table(["target", "aim", "measured", ""], rows_of(targets), "lrrl")
    parts = ["# Performance", HEAD, "\n".join(claims)]
    parts += ["## Machines", "\n".join(machines(environments)), "## Targets", rows]
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


def rows_of(targets: Sequence[Target]) -> list[list[str]]:
    """What, aim, measured value, and what became of it."""
    return [
        [
            target.what,
            f"{'at most' if target.at_most else 'at least'} {number(target.wanted)} {target.unit}",
            "-" if target.measured is None else f"{number(target.measured)} {target.unit}",
            target.verdict + (f": {target.why}" if target.why else ""),
        ]
        for target in targets
    ]


def machines(environments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line a machine: what it is, then the results that come from it, day, load and commit."""
    found: dict[str, list[str]] = {}
    for name, environment in environments.items():
        day, load = environment.get("date", f"day {UNKNOWN}")[:10], environment.get("load_average")
        words = [f"load {UNKNOWN if load is None else f'{load:.1f}'}"]
        words += [environment["commit"]] if environment.get("commit") else []
        found.setdefault(hardware(environment), []).append(f"`{name}` ({day}, {', '.join(words)})")
    return [f"- **{machine}**: {', '.join(names)}." for machine, names in found.items()]


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


def show(targets: Sequence[Target], console: Console) -> None:
    """Every target beside its figure; a narrow terminal folds words, never numbers."""
    colours = {"met": "green", "missed": "red", "not measured here": "yellow"}
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("target", overflow="fold")
    grid.add_column("aim", justify="right", overflow="fold")
    grid.add_column("measured", justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for target, row in zip(targets, rows_of(targets), strict=True):
        what, aim, measured, _ = (escape(cell) for cell in row)
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
    text, figures = page_text(sections, records()), pictures(sections, PAGE)
    if not check:
        write(text, figures, PAGE)
        show([target for section in sections for target in section.targets], Console())
        print(PAGE)
        return 0
    wrong = differences(text, figures, PAGE)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        print(f"{PAGE} is not what benchmarks/results give: run python benchmarks/page.py")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
