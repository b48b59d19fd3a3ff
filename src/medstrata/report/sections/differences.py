"""Paired differences as the page shows them: a table and a forest plot for each baseline."""

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medstrata.metrics.defaults import LEVEL, RESAMPLES
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.metrics.paired_difference import Source
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.differences import ALPHA, Contrast, ContrastFamily
from medstrata.report.read.results import Finetune
from medstrata.report.render.figures import (
    INK,
    MUTED,
    Plot,
    PlotWords,
    Style,
    draw_line,
    page_style,
    plot,
)
from medstrata.report.render.formatting import (
    counted,
    listed,
    metric_name,
    p_text,
    percent,
    sentence,
    signed,
)
from medstrata.report.render.parts import Part, Pictures
from medstrata.report.render.tables import Table, TableCell, arm_cell, labels_head, number_cell
from medstrata.report.sections.section import Section, headed_parts


def differences_section(
    comparisons: Sequence[Comparison[Finetune]],
    paired: Mapping[str, Sequence[ContrastFamily]],
    styles: Mapping[str, Style],
) -> Section:
    """Every family of differences.

    Args:
        comparisons: The comparisons.
        paired: Name of a comparison -> its families.
        styles: Arm -> style.
    """
    return Section(
        anchor="differences",
        title="Paired differences to the baselines",
        short="Differences",
        lead="All arms are scored on the same patients and, draw by draw, were given the same "
        "labelled images, so much of what moves a score moves both sides alike and drops out of "
        "their difference. Each entry is the arm's mean score over seeds and draws of the labels "
        f"less the baseline's. Its {percent(LEVEL)} interval and p speak of other test patients "
        f"({RESAMPLES:,} resamples), other seeds (of pre-training, or of random weights) and other "
        "draws, as far as there are several; the last line says how much of the variance each "
        "makes up. The adjusted p is Holm's, over all differences of its table. Clear: the "
        f"adjusted p is below {ALPHA}. There is no verdict from one draw of the labels, nor from "
        "fewer than three seeds of an arm; ImageNet's weights are taken as they are.",
        parts=headed_parts(comparisons, lambda one: _parts(one, paired[one.name], styles)),
    )


def _parts(
    comparison: Comparison[Finetune],
    families: Sequence[ContrastFamily],
    styles: Mapping[str, Style],
) -> Iterator[Part]:
    named = {
        f"{comparison.name}-differences-{i}": family
        for i, family in enumerate(one for one in families if one.contrasts)
    }
    contrasts = [one.difference for family in named.values() for one in family.contrasts.values()]
    if not contrasts:
        return
    reach = [0.0, *(end for one in contrasts for end in (one.low, one.high))]
    margin = 0.05 * (max(reach) - min(reach)) or 0.01
    limits = (min(reach) - margin, max(reach) + margin)
    drawn = {arm for family in named.values() for arm in family.arms}
    side = "left" if comparison.metric in LOWER_IS_BETTER else "right"
    yield from (_contrasts_table(name, comparison, family) for name, family in named.items())
    yield Pictures(
        plots=[
            _forest(name, comparison.metric, family, styles, limits)
            for name, family in named.items()
        ],
        key=[arm for arm in comparison.arms if arm in drawn],
        layout="pair from-top" if len(named) > 1 else "",
        caption=f"Difference in {metric_name(comparison.metric)} to each baseline, {side} of the "
        f"line being better. Bars: {percent(LEVEL)} interval. Filled: clear after Holm's "
        "correction; open: not, or no verdict.",
    )


def _contrasts_table(name: str, comparison: Comparison[Finetune], family: ContrastFamily) -> Table:
    number = counted(len(family.contrasts), "difference")
    permutations = f"p-values are Holm-adjusted over the {number} of this table."
    if len(family.contrasts) == 1:
        permutations = "One difference alone: its p-value needs no adjustment."
    other = [arm for arm in family.arms if arm in family.other_backbone]
    marked = f" Another backbone than the baseline's: {listed(other)}." if other else ""
    return Table(
        name=name,
        caption=f"{sentence(metric_name(comparison.metric))} less that of {family.baseline}: "
        f"{comparison.clause}",
        heads=(TableCell("Arm"), *(labels_head(one) for one in family.fractions)),
        rows=tuple(
            (
                arm_cell(arm, *(("other backbone",) if arm in other else ())),
                *(_contrast_cell(family.contrasts.get((arm, one))) for one in family.fractions),
            )
            for arm in family.arms
        ),
        note=f"{permutations}{marked}",
    )


def _contrast_cell(contrast: Contrast | None) -> TableCell:
    if contrast is None:
        return TableCell(text="no pair")
    difference = contrast.difference
    verdict = {1: ", clearly better", -1: ", clearly worse", 0: ""}[contrast.better]
    shares = ", ".join(
        f"{source} {percent(round(share, 2))}"
        for source in get_args(Source)
        if (share := difference.share(source))
    )
    return number_cell(
        difference.value,
        f"p {p_text(difference.p_value)}, adjusted {p_text(contrast.adjusted)}{verdict}",
        *([f"no verdict: {contrast.too_few}"] if contrast.too_few else []),
        f"{contrast.seeds[0]} against {counted(contrast.seeds[1], 'seed')}, "
        f"{counted(contrast.draws, 'draw')}",
        *([f"variance: {shares}"] if shares else []),
        interval=(difference.low, difference.high),
        write=signed,
    )


def _forest(
    name: str,
    metric: str,
    family: ContrastFamily,
    styles: Mapping[str, Style],
    limits: tuple[float, float],
) -> Plot:
    """Rows of arms, grouped by fraction, the smallest fraction at the top."""
    pitch = len(family.arms) + 1
    rows = {
        (arm, fraction): -(i * pitch + j)
        for i, fraction in enumerate(family.fractions)
        for j, arm in enumerate(family.arms)
    }
    height = 0.17 * pitch * len(family.fractions) + 0.55
    with rc_context(page_style(9)):
        figure = Figure(figsize=(4.4, height))
        axes = figure.add_axes((0.13, 0.42 / height, 0.85, 1 - 0.47 / height))
        axes.axvline(0, color=INK, lw=0.9)
        for cell, contrast in family.contrasts.items():
            _draw(axes, contrast, styles[cell[0]], rows[cell])
        axes.set_xlim(*limits)
        axes.set_ylim(-pitch * len(family.fractions) + 0.4, 0.9)
        middles = [-(i * pitch + (pitch - 2) / 2) for i in range(len(family.fractions))]
        axes.set_yticks(middles, [percent(one) for one in family.fractions])
        axes.tick_params(axis="y", length=0)
        for i in range(1, len(family.fractions)):
            axes.axhline(1 - i * pitch, color=MUTED, lw=0.4)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("difference")
        differences = "; ".join(
            f"{arm} at {percent(fraction)} {signed(one.difference.value)}"
            for (arm, fraction), one in family.contrasts.items()
        )
        alt = (
            f"{metric_name(metric)} less that of {family.baseline}: {differences}. The intervals "
            "are in the table."
        )
        return plot(figure, PlotWords(name, f"Against {family.baseline}", alt))


def _draw(axes: Axes, contrast: Contrast, style: Style, row: float) -> None:
    difference = contrast.difference
    draw_line(axes, style, [difference.low, difference.high], [row, row], lw=1.3)
    filled = style.colour if contrast.better else "none"
    marks = {"marker": style.marker, "mfc": filled, "ms": 5.5, "mew": 1.1, "ls": "none"}
    draw_line(axes, style, [difference.value], [row], **marks)
