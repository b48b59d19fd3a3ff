"""How many times as fast, drawn: a row for each thing measured, a mark for each manner."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Spread = Mapping[str, float]  # of `harness.spread`
MARKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"))  # told apart without colour as well
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 30, 50, 100, 200)


def times_as_fast(rows: Sequence[tuple[str, Mapping[str, Spread]]], axis: str) -> "Figure":
    """Medians with their quartiles on a logarithmic axis, and a line where both are as fast.

    Args:
        rows: From top to bottom, each with its ratios by manner; at most three manners.
        axis: What the ratios are.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    manners = list(dict.fromkeys(name for _, ratios in rows for name in ratios))
    style = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        sheet = Figure(figsize=(7.2, 0.26 * len(rows) + 0.9), layout="constrained")
        axes = sheet.add_subplot()
        axes.axvline(1, color="#767676", lw=1)
        for manner, (colour, mark) in zip(manners, MARKS, strict=False):
            seen = [(i, ratios[manner]) for i, (_, ratios) in enumerate(rows) if manner in ratios]
            middles = [ratio["median"] for _, ratio in seen]
            ends = [
                [ratio["median"] - ratio["lower_quartile"] for _, ratio in seen],
                [ratio["upper_quartile"] - ratio["median"] for _, ratio in seen],
            ]
            axes.errorbar(
                middles, [i for i, _ in seen], xerr=ends, fmt=mark, ms=4.5, lw=1.2, color=colour,
                label=manner,
            )  # fmt: skip
        axes.set(xscale="log", xlabel=axis, yticks=range(len(rows)))
        axes.set_yticklabels([name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        shown = [ratio["median"] for _, ratios in rows for ratio in ratios.values()]
        axes.set_xlim(0.9 * min(*shown, 0.9), 1.15 * max(shown))
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", color="#dddddd", lw=0.5)
        axes.tick_params(axis="y", length=0)
        sheet.legend(loc="outside upper center", ncols=3, frameon=False)
    return sheet
