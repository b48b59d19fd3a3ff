"""Mean gain over a baseline: the paired differences of several data sets, averaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.metrics.paired_difference import Difference, average_difference
from medstrata.report.compare.comparison import Comparison, arm_order
from medstrata.report.compare.differences import (
    BASELINES,
    difference_of,
    is_baseline,
    paired_runs,
)
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import (
    metric_name,
    percent,
    protocol_clause,
    protocol_name,
    signed,
    slug,
)
from medstrata.report.render.parts import Heading, Part
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_table,
    labels_head,
    number_cell,
)
from medstrata.report.sections.section import Section

# The comparisons of one protocol, each by its number among the data sets.
Sets = Mapping[int, Comparison[Finetune]]


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """An arm's gain over a baseline at one fraction, averaged over data sets.

    Attributes:
        mean: Over the data sets; more is better.
        parts: Number of the data set -> gain on it.
        too_few: As of `Contrast`, of any data set.
    """

    mean: Difference
    parts: Mapping[int, float]
    too_few: str


def gains_section(
    comparisons: Sequence[Comparison[Finetune]], baselines: Sequence[str] = BASELINES
) -> Section:
    """A table for each protocol and baseline, where there are several data sets."""
    parts: list[Part] = []
    places = list(dict.fromkeys(comparison.place for comparison in comparisons))
    for protocol in dict.fromkeys(comparison.protocol for comparison in comparisons):
        sets = {places.index(one.place): one for one in comparisons if one.protocol == protocol}
        held_against = _arms_named(sets, baselines)
        tables = [
            table
            for i, baseline in enumerate(held_against)
            if (table := _gains_table(sets, baseline, held_against[:i])) is not None
        ]
        if tables:
            parts += [Heading(protocol_name(protocol)), *tables]
    return Section(
        anchor="gain",
        title="Mean gain over data sets",
        short="Mean gain",
        lead="Each entry averages the differences between an arm and a baseline over the data "
        "sets, every set counting the same, as they stand in the paired differences. The "
        f"{percent(LEVEL)} interval adds up what other patients, seeds and draws of the labels do "
        "on each set. It takes the data sets as they are: it does not tell what another data set "
        "would show. Where the sets are judged by different metrics, their differences are "
        "averaged all the same, as points of a scale from 0 to 1.",
        parts=parts,
    )


def mean_difference(sets: Sets, arm: str, baseline: str, fraction: float) -> MeanDifference | None:
    """Average what an arm gains on each data set where it can be paired with the baseline."""
    parts: dict[int, Difference] = {}
    too_few = ""
    for i, comparison in sets.items():
        grids = paired_runs(comparison, arm, baseline, fraction)
        difference = grids and difference_of(comparison, grids)
        if grids and difference:
            lower = comparison.metric in LOWER_IS_BETTER
            parts[i] = difference.reversed if lower else difference
            too_few = too_few or grids[0].too_few or grids[1].too_few
    if not parts:
        return None
    return MeanDifference(
        mean=average_difference(list(parts.values()), level=LEVEL),
        parts={i: difference.value for i, difference in parts.items()},
        too_few=too_few,
    )


def _arms_named(sets: Sets, baselines: Sequence[str]) -> list[str]:
    """Labels of baseline arms, in the order of their names."""
    named = (
        arm
        for name in baselines
        for one in sets.values()
        for arm in one.arms
        if is_baseline(one, arm, name)
    )
    return list(dict.fromkeys(named))


def _gains_table(sets: Sets, baseline: str, earlier: Sequence[str]) -> Table | None:
    """The arms that have not met the baseline in an earlier table."""
    passed = (baseline, *earlier)
    arms = arm_order(arm for one in sets.values() for arm in one.arms if arm not in passed)
    fractions = sorted({fraction for one in sets.values() for fraction in one.fractions})
    gains = {
        (arm, fraction): one
        for fraction in fractions
        for arm in arms
        if (one := mean_difference(sets, arm, baseline, fraction)) is not None
    }
    met = sorted({i for one in gains.values() for i in one.parts})
    if len(met) < 2:
        return None
    named = (
        f"{sets[i].store.name}, {sets[i].task.name} ({metric_name(sets[i].metric)})" for i in met
    )
    protocol = sets[met[0]].protocol
    return arm_table(
        slug("mean-gain", protocol, baseline),
        f"Gain over {baseline}, averaged over data sets, {protocol_clause(protocol)}",
        [arm for arm in arms if any(arm == one for one, _ in gains)],
        {fraction: labels_head(fraction) for fraction in fractions},
        {key: _gain_cell(one, met) for key, one in gains.items()},
        missing="no pair",
        note=f"Small numbers: the gain on each data set, in this order: {'; '.join(named)}.",
    )


def _gain_cell(gain: MeanDifference, met: Sequence[int]) -> TableCell:
    each = ", ".join(signed(gain.parts[i]) if i in gain.parts else "–" for i in met)
    return number_cell(
        gain.mean.value,
        each,
        *([f"no verdict: {gain.too_few}"] if gain.too_few else []),
        interval=(gain.mean.low, gain.mean.high),
        write=signed,
    )
