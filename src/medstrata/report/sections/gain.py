"""Mean gain over a baseline: the paired differences of several data sets, averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medstrata.metrics.intervals import LOWER_IS_BETTER
from medstrata.metrics.resampling import Floats
from medstrata.report.compare.compare import Bench, Comparison, arm_order
from medstrata.report.compare.differences import BASELINES, matched
from medstrata.report.read.predictions import LEVEL, RESAMPLES, ends
from medstrata.report.render.formatting import (
    metric_name,
    percent,
    protocol_clause,
    protocol_name,
    signed,
    slug,
)
from medstrata.report.render.sections import Block, Section, section_of
from medstrata.report.render.tables import Cell, Table
from medstrata.runtime.randomness import Stream, permutation


@dataclass(frozen=True, kw_only=True)
class Gain:
    """An arm's gain over a baseline at one fraction, averaged over data sets.

    Attributes:
        value: Mean over the data sets.
        interval: 95 % interval of it, over the patients of each set; None where undefined.
        parts: (place of the bench, gain on it).
    """

    value: float
    interval: tuple[float, float] | None
    parts: tuple[tuple[int, float], ...]


def gains_section(benches: Sequence[Bench]) -> Section | None:
    """A table for each protocol and baseline; None unless there are several data sets."""
    blocks = []
    for protocol in dict.fromkeys(one.protocol for bench in benches for one in bench.comparisons):
        baselines = _baselines(benches, protocol)
        tables = [
            table
            for i, baseline in enumerate(baselines)
            if (table := _table(benches, protocol, baseline, baselines[:i])) is not None
        ]
        if tables:
            blocks.append(Block(heading=protocol_name(protocol), tables=tuple(tables)))
    return section_of(
        blocks,
        anchor="gain",
        title="Mean gain over data sets",
        short="Mean gain",
        lead="Each entry averages the differences between an arm and a baseline over the data "
        "sets, every set counting the same; the same patients, labelled images and seeds on both "
        f"sides. The {percent(LEVEL)} interval comes from {RESAMPLES:,} resamples of the patients "
        "of each set. It takes the data sets as they are: it does not tell what another data set "
        "would show. Where the sets are judged by different metrics, their differences are "
        "averaged all the same, as points of a scale from 0 to 1.",
    )


def gain(
    benches: Sequence[Bench], protocol: str, arm: str, baseline: str, fraction: float
) -> Gain | None:
    """Average what an arm gains on each bench where it can be paired with the baseline."""
    parts, drawn = [], []
    for i, bench in enumerate(benches):
        for comparison in bench.comparisons:
            if comparison.protocol == protocol:
                found = _on(bench, comparison, arm, baseline, fraction)
                if found is not None:
                    parts.append((i, found[0]))
                    # In an order of its own, or resample n would draw alike from every set.
                    drawn.append(found[1][permutation(RESAMPLES, Stream.POOLED_RESAMPLES, i)])
    if not parts:
        return None
    return Gain(
        value=float(np.mean([value for _, value in parts])),
        interval=ends(np.mean(drawn, axis=0)),
        parts=tuple(parts),
    )


def _on(
    bench: Bench, comparison: Comparison, arm: str, baseline: str, fraction: float
) -> tuple[float, Floats] | None:
    """The gain on one bench, and on each of its resamples; more is better."""
    firsts, seconds = matched(
        comparison,
        comparison.runs.get((arm, fraction), ()),
        comparison.runs.get((baseline, fraction), ()),
    )
    metric, predictions = bench.metric, bench.predictions
    scored = [run.scores[metric].value for run in (*firsts, *seconds) if metric in run.scores]
    if not firsts or len(scored) < 2 * len(firsts) or not predictions.knows(metric):
        return None
    sign = -1 if metric in LOWER_IS_BETTER else 1
    value = np.mean(scored[: len(firsts)]) - np.mean(scored[len(firsts) :])
    drawn = predictions.resampled(metric, firsts) - predictions.resampled(metric, seconds)
    return sign * float(value), sign * drawn


def _baselines(benches: Sequence[Bench], protocol: str) -> list[str]:
    """Labels of baseline arms, in the order of `BASELINES`."""
    names = {
        arm: one.identity(arm)[0]
        for bench in benches
        for one in bench.comparisons
        if one.protocol == protocol
        for arm in one.arms
    }
    return [arm for name in BASELINES for arm in names if names[arm] == name]


def _table(
    benches: Sequence[Bench], protocol: str, baseline: str, earlier: Sequence[str]
) -> Table | None:
    """The arms that have not met the baseline in an earlier table."""
    compared = [one for bench in benches for one in bench.comparisons if one.protocol == protocol]
    fractions = sorted({fraction for one in compared for fraction in one.fractions})
    passed = (baseline, *earlier)
    arms = arm_order({arm for one in compared for arm in one.arms if arm not in passed})
    cells = {
        (arm, fraction): found
        for arm in arms
        for fraction in fractions
        if (found := gain(benches, protocol, arm, baseline, fraction)) is not None
    }
    sets = sorted({i for found in cells.values() for i, _ in found.parts})
    if len(sets) < 2:
        return None
    return Table(
        name=slug("mean-gain", protocol, baseline),
        caption=f"Gain over {baseline}, averaged over data sets, {protocol_clause(protocol)}",
        heads=(
            Cell(text="Arm"),
            *(Cell(text=f"{percent(one)} of labels") for one in fractions),
        ),
        rows=tuple(
            (
                Cell(text=arm, arm=arm),
                *(_entry(cells.get((arm, one)), sets) for one in fractions),
            )
            for arm in arms
            if any((arm, one) in cells for one in fractions)
        ),
        note="Small numbers: the gain on each data set, in this order: "
        + "; ".join(
            f"{benches[i].store.name}, {benches[i].task.name} ({metric_name(benches[i].metric)})"
            for i in sets
        )
        + ".",
    )


def _entry(found: Gain | None, sets: Sequence[int]) -> Cell:
    if found is None:
        return Cell(text="no pair")
    parts = dict(found.parts)
    each = ", ".join(signed(parts[i]) if i in parts else "–" for i in sets)
    return Cell(
        text=signed(found.value), number=found.value, interval=found.interval, notes=(each,)
    )
