"""Figures as the paper's published code computes them, beside the right ones and never alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medstrata.report.compare.compare import Bench, Comparison, summarise
from medstrata.report.read.predictions import LEVEL
from medstrata.report.read.runs import Finetune
from medstrata.report.render.formatting import (
    metric_name,
    percent,
    score_text,
    sentence,
)
from medstrata.report.render.sections import Section, section_of, table_block
from medstrata.report.render.tables import Cell, Table
from medstrata.report.sections.curves import read


def legacy_section(found: Sequence[tuple[str, Bench, Comparison]]) -> Section | None:
    """Every comparison with runs that recorded such figures.

    Args:
        found: (name for files, bench, comparison).
    """
    return section_of(
        (
            table_block(bench.heading(comparison), _table(name, bench, comparison))
            for name, bench, comparison in found
        ),
        anchor="legacy",
        title="As the paper's code computes it: not to be used",
        short="Legacy figures",
        lead="For comparison with figures made by the paper's published code, and for nothing "
        "else. It scores the last epoch, although another was chosen by validation. Its interval "
        "is the mean ± 1.96 standard deviations / √500 over 500 draws of single images: the "
        "standard deviation of such draws is the standard error already, so the interval is about "
        "22 times too narrow. The right score and interval stand beside them.",
    )


def _table(name: str, bench: Bench, comparison: Comparison) -> Table | None:
    rows = [
        row
        for arm in comparison.arms
        for fraction in comparison.fractions
        if (row := _row(bench, comparison, arm, fraction)) is not None
    ]
    if not rows:
        return None
    return Table(
        name=f"{name}-legacy",
        caption=f"{sentence(metric_name(bench.metric))} as it should be and as the paper's "
        f"code has it, mean over seeds: {bench.under(comparison)}",
        heads=(
            Cell(text="Arm"),
            Cell(text="Labels"),
            Cell(text="Score", notes=(f"{percent(LEVEL)} interval over patients",)),
            Cell(text="Not to be used: last epoch", notes=("no interval",)),
            Cell(text="Not to be used: sd / √500", notes=("mean of the draws, interval",)),
        ),
        rows=tuple(rows),
    )


def _row(
    bench: Bench, comparison: Comparison, arm: str, fraction: float
) -> tuple[Cell, ...] | None:
    runs = [run for run in comparison.runs.get((arm, fraction), ()) if run.legacy]
    right = summarise(runs, bench.metric, comparison.predictions)
    if right is None:
        return None
    metric = bench.metric
    last = _mean(runs, "last_epoch", metric)
    low, high = (_mean(runs, "interval", metric, end) for end in ("low", "high"))
    narrow = None if low is None or high is None else (low, high)
    return (
        Cell(text=arm, arm=arm),
        Cell(text=percent(fraction), number=fraction),
        Cell(text=score_text(right.value), number=right.value, interval=right.interval),
        _plain(last),
        Cell(text=score_text(sum(narrow) / 2), number=sum(narrow) / 2, interval=narrow)
        if narrow
        else Cell(text="–"),
    )


def _plain(value: float | None) -> Cell:
    return Cell(text="–") if value is None else Cell(text=score_text(value), number=value)


def _mean(runs: Sequence[Finetune], *path: str) -> float | None:
    """Mean over runs of the number at a path, None unless every run has it."""
    found: list[float] = []
    for run in runs:
        legacy: Mapping[str, Any] = run.legacy
        value = read(legacy, *path)
        if value is None:
            return None
        found.append(value)
    return float(np.mean(found))
