"""Write docs/results/performance.md from benchmarks/results; print each target and its figure.

    python benchmarks/page.py [--check]

A part of the page is what the `section` of a benchmark makes of its result files alone; of one that
has no result file, the page says how to measure it.
"""

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from types import ModuleType

from harness import RESULTS, print_targets, read_results
from medstrata.runtime.files import write_text
from run import BENCHMARKS
from section import Section, Target, measured_on, paragraphs, rows_of, table

PAGE = RESULTS.parent.parent / "docs" / "results" / "performance.md"
HEAD = (
    "`make bench` measures all of this anew; `python benchmarks/page.py` writes this page from "
    "`benchmarks/results/`, so change a benchmark's `section` and not the page. Ratios come from "
    "interleaved runs on one machine, which stands under each heading; only ratios carry over. A "
    "figure with two others in brackets is a median with its quartiles."
)


def sections(benchmarks: Iterable[ModuleType]) -> list[Section]:
    """The section of each benchmark, below it what measured it.

    Raises:
        ValueError: a target was missed, and the benchmark gives no reason.
    """
    found = []
    for benchmark in benchmarks:
        if not (results := read_results(benchmark.__name__)):
            title = (benchmark.__doc__ or "").splitlines()[0].rstrip(".")
            missing = f"Not measured: run `python benchmarks/{benchmark.__name__}.py`."
            found.append(Section(title, missing))
            continue
        section: Section = benchmark.section(results)
        unexplained = [
            aim.what for aim in section.targets if aim.verdict == "missed" and not aim.why
        ]
        if unexplained:
            raise ValueError(f"{section.title}: missed without a reason (why): {unexplained}")
        machines = measured_on([result["environment"] for result in results])
        found.append(section._replace(text=paragraphs(f"*{machines}*", section.text)))
    return found


def page_text(sections: Sequence[Section]) -> str:
    """The whole page, from its sections."""
    targets = [aim for section in sections for aim in section.targets]
    aims = table(["target", "aim", "measured", "on", ""], rows_of(targets), "lrrll")
    parts = ["# Performance", HEAD, tally(targets), "## Targets", aims]
    for section in sections:
        parts += [f"## {section.title}", section.text]
    return paragraphs(*parts) + "\n"


def tally(targets: Sequence[Target]) -> str:
    """How many targets there are and what became of them."""
    counts = Counter(target.verdict for target in targets)
    words = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"Targets set before anything was measured: {words or 'none'}."


def main() -> int:
    """Write or check the page; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the page is out of date"
    )
    check = parser.parse_args().check
    found = sections(import_module(name) for name in BENCHMARKS)
    text = page_text(found)
    if not check:
        write_text(PAGE, text)
        targets = [aim for section in found for aim in section.targets]
        print_targets(targets)
        print(tally(targets))
        print(PAGE)
        return 0
    there = PAGE.read_text("utf-8").splitlines() if PAGE.is_file() else []
    wrong = [*difflib.unified_diff(there, text.splitlines(), "page", "results", lineterm="", n=0)]
    if wrong:
        print(*wrong, f"{PAGE.name} is old: run python benchmarks/page.py", sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
