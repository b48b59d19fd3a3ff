"""What a benchmark hands to docs/results/performance.md: text, tables and targets."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple


class Target(NamedTuple):
    """An aim that was set before anything was measured."""

    what: str  # what is compared with what, on what
    wanted: float
    measured: float | None  # None: not measured on this machine
    unit: str  # "x", "%", "samples/s"
    on: str = ""  # what computed it, of `processor`
    at_most: bool = False  # the aim is not to exceed `wanted`
    why: str = ""  # what a profile says stands in the way, where it is missed

    @property
    def verdict(self) -> Literal["met", "missed", "not measured here"]:
        """What became of the aim."""
        if self.measured is None:
            return "not measured here"
        reached = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        return "met" if reached else "missed"


class Section(NamedTuple):
    """One part of docs/results/performance.md, made from one benchmark's result files."""

    title: str
    text: str  # Markdown: the command, what was measured against what, tables
    targets: Sequence[Target] = ()


def rows_of(targets: Sequence[Target]) -> list[list[str]]:
    """Of each target: what, aim, measured value, what measured it, and what became of it."""
    return [
        [
            target.what,
            f"{'at most' if target.at_most else 'at least'} {number(target.wanted)} {target.unit}",
            "-" if target.measured is None else f"{number(target.measured)} {target.unit}",
            target.on or "-",
            f"missed: {target.why}" if target.verdict == "missed" else target.verdict,
        ]
        for target in targets
    ]


def paragraphs(*parts: str) -> str:
    """Paragraphs and tables, with an empty line between them."""
    return "\n\n".join(parts)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A Markdown table; a `|` in a cell is escaped, other Markdown is kept.

    `align` has `l` or `r` for each column; without it the first stands left, the others right.

    Raises:
        ValueError: a row or `align` has another length than the headings.
    """
    align = align or "l" + "r" * (len(headings) - 1)
    if any(len(part) != len(headings) for part in (align, *rows)):
        raise ValueError(f"table: each row and align must have {len(headings)} cells")
    lines = [list(headings), [{"l": ":--", "r": "--:"}[side] for side in align], *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def number(value: float) -> str:
    """Three significant digits, thousands apart: 0.0124, 3.61, 4, 130, 18,500."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def ratio(spread: Mapping[str, float], digits: int = 2) -> str:
    """The median of `harness.spread` with its quartiles: 3.61 (3.55 to 3.72)."""
    low, middle, high = (spread[key] for key in ("lower_quartile", "median", "upper_quartile"))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def processor(environment: Mapping[str, Any]) -> str:
    """What computed, in short: AVX512 with bfloat16, or the GPU's name."""
    bfloat16 = "with" if environment["native_bf16"] else "without"
    return environment["gpu"] or f"{environment['vector_instructions']} {bfloat16} bfloat16"


def measured_on(environments: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for each machine: what it is, then days, loads, commits.

    Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, load 0.7.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in environments:
        torch = ".".join(one["packages"]["torch"].split(".")[:2])
        article = "an" if one["processor"][0].lower() in "aeiou" else "a"
        host = f"{one['cores']} cores of {article} {one['processor']}"
        found.setdefault(f"{host}, {processor(one)}, PyTorch {torch}", []).append(one)
    sentences = []
    for what, records in found.items():
        days = sorted({one["date"][:10] for one in records})
        loads = sorted(one["load_average"] for one in records)
        ends = dict.fromkeys(f"{load:.1f}" for load in (loads[0], loads[-1]))
        commits = sorted({one["commit"] for one in records if one.get("commit")})
        words = [*days, f"load {' to '.join(ends)}", *commits]
        sentences.append(f"Measured on {what}, {', '.join(words)}.")
    return " ".join(sentences)
