"""Figures as the paper's published code computes them, beside the right ones and never alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from medstrata.metrics.defaults import LEVEL
from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import metric_name, percent, sentence
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_cell,
    number_cell,
    summary_cell,
    text_cells,
)
from medstrata.report.sections.curves import read
from medstrata.report.sections.section import Section, headed_parts


def legacy_section(comparisons: Sequence[Comparison[Finetune]]) -> Section:
    """Every comparison with runs that recorded such figures."""
    return Section(
        anchor="legacy",
        title="As the paper's code computes it: not to be used",
        short="Legacy figures",
        lead="For comparison with figures made by the paper's published code, and for nothing "
        "else. It scores the last epoch, although another was chosen by validation. Its interval "
        "is the mean ± 1.96 standard deviations / √500 over 500 draws of single images: the "
        "standard deviation of such draws is the standard error already, so the interval is about "
        "22 times too narrow. The right score and interval stand beside them.",
        parts=headed_parts(comparisons, _legacy_tables),
    )


def _legacy_tables(comparison: Comparison[Finetune]) -> Iterator[Table]:
    """One, or none where no run recorded such figures."""
    rows = [
        row
        for arm in comparison.arms
        for fraction, runs in comparison.of(arm).items()
        if (row := _row(comparison, [run for run in runs if run.legacy], arm, fraction))
    ]
    if not rows:
        return
    yield Table(
        name=f"{comparison.name}-legacy",
        caption=f"{sentence(metric_name(comparison.metric))} as it should be and as the paper's "
        f"code has it, mean over seeds: {comparison.clause}",
        heads=(
            *text_cells("Arm", "Labels"),
            TableCell(text="Score", notes=(f"{percent(LEVEL)} interval over patients",)),
            TableCell(text="Not to be used: last epoch", notes=("no interval",)),
            TableCell(text="Not to be used: sd / √500", notes=("mean of the draws, interval",)),
        ),
        rows=tuple(rows),
    )


def _row(
    comparison: Comparison[Finetune], runs: Sequence[Finetune], arm: str, fraction: float
) -> tuple[TableCell, ...] | None:
    metric = comparison.metric
    right = comparison.summarise(runs, metric)
    if right is None:
        return None
    low, high = (_mean(runs, "interval", metric, end) for end in ("low", "high"))
    narrow = None if low is None or high is None else (low, high)
    return (
        arm_cell(arm),
        TableCell(percent(fraction), fraction),
        summary_cell(right),
        number_cell(_mean(runs, "last_epoch", metric)),
        number_cell(sum(narrow) / 2 if narrow else None, interval=narrow),
    )


def _mean(runs: Sequence[Finetune], *path: str) -> float | None:
    """Mean over runs of the number at a path, None unless every run has it."""
    values = [value for run in runs if (value := read(run.legacy, *path)) is not None]
    return float(np.mean(values)) if len(values) == len(runs) else None
