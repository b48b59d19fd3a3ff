"""Numbers, tables and machines in the words of docs/performance.md."""

from collections.abc import Mapping, Sequence
from typing import Any

PICTURES = "pictures/performance-"  # seen from docs/
UNKNOWN = "unknown"


def paragraphs(*parts: str) -> str:
    """Paragraphs, tables and pictures, with an empty line between them."""
    return "\n\n".join(parts)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A Markdown table.

    Args:
        headings: One for each column.
        rows: Cells as they are to be read; a `|` in them is escaped, Markdown in them is kept.
        align: `l`, `r` or `c` for each column; without it the first column stands left, the others
            right.

    Returns:
        Lines without a newline at the end.

    Raises:
        ValueError: a row or `align` has another length than the headings.
    """
    align = align or "l" + "r" * (len(headings) - 1)
    if any(len(part) != len(headings) for part in (align, *rows)):
        raise ValueError(f"table: each row and align must have {len(headings)} cells")
    rules = {"l": ":--", "r": "--:", "c": ":-:"}
    lines = [list(headings), [rules[side] for side in align], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def number(value: float) -> str:
    """Three significant digits, thousands apart: 0.0124, 3.61, 4, 130, 18,500."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def ratio(spread: Mapping[str, float], digits: int = 2) -> str:
    """The median of `harness.spread` with its quartiles: 3.61 (3.55 to 3.72)."""
    low, middle, high = _quartiles(spread)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def change(spread: Mapping[str, float], digits: int = 0) -> str:
    """What a `harness.spread` of ratios adds to 1, in per cent: +6 % (+5 to +7)."""
    low, middle, high = (100 * (value - 1) for value in _quartiles(spread))
    return f"{middle:+.{digits}f} % ({low:+.{digits}f} to {high:+.{digits}f})"


def _quartiles(spread: Mapping[str, float]) -> tuple[float, float, float]:
    return spread["lower_quartile"], spread["median"], spread["upper_quartile"]


def gib(value: float) -> str:
    """GiB with two decimals, and below a tenth in MiB: 4.39 GiB, 35 MiB."""
    return f"{value:.2f} GiB" if value >= 0.1 else f"{1024 * value:.0f} MiB"


def hardware(environment: Mapping[str, Any]) -> str:
    """What computed, and with which PyTorch, from `harness.environment`.

    2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15. What an older record lacks is
    "unknown".
    """
    processor = environment.get("processor") or f"{UNKNOWN} processor"
    cores = environment.get("cores", UNKNOWN)
    article = "an" if processor[0].lower() in "aeiou" else "a"
    vectors = environment.get("vector_instructions", f"{UNKNOWN} vector instructions")
    bfloat16 = _bfloat16(environment)
    host = f"{cores} core{'' if cores == 1 else 's'} of {article} {processor}, {vectors}"
    gpu = environment.get("gpu")
    what = f"{gpu}{bfloat16} in a host of {host}" if gpu else f"{host}{bfloat16}"
    torch = environment.get("packages", {}).get("torch", UNKNOWN)
    return f"{what}, PyTorch {'.'.join(torch.split('.')[:2])}"


def _bfloat16(environment: Mapping[str, Any]) -> str:
    words = {True: " with bfloat16", False: " without bfloat16"}
    return words.get(environment.get("native_bf16"), f", bfloat16 {UNKNOWN}")


def processor(environment: Mapping[str, Any]) -> str:
    """What computed, in short: AVX512 with bfloat16, or the GPU's name."""
    vectors = environment.get("vector_instructions", f"{UNKNOWN} vector instructions")
    return str(environment.get("gpu") or vectors + _bfloat16(environment))


def measured_on(environments: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for each hardware: what it is, then days, loads as results were written, commits.

    Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, load 0.7.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for environment in environments:
        found.setdefault(hardware(environment), []).append(environment)
    sentences = []
    for what, records in found.items():
        days = [one["date"][:10] if "date" in one else f"{UNKNOWN} day" for one in records]
        loads = [f"{one['load_average']:.1f}" for one in records if "load_average" in one]
        ends = sorted(loads, key=float)[:: max(1, len(loads) - 1)] or [UNKNOWN]
        commits = sorted({one["commit"] for one in records if one.get("commit")})
        words = [*sorted(set(days)), f"load {' to '.join(dict.fromkeys(ends))}", *commits]
        sentences.append(f"Measured on {what}, {', '.join(words)}.")
    return " ".join(sentences)


def picture(stem: str, alt: str) -> str:
    """Where the text of a section shows one of its figures.

    Args:
        stem: The figure's name in `Section.figures`.
        alt: What the figure shows, for those who cannot see it.
    """
    return f"![{alt}]({PICTURES}{stem}.png)"
