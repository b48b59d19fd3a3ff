"""What comparisons show, in sentences.

An arm counts as better or worse than a baseline only by their paired difference: its interval
over patients leaves out 0 and its p-value, adjusted by Holm's method, is below 0.05. Where there
is none, two arms count as apart only when neither their intervals over patients nor their scores
over seeds touch, which is stricter.
"""

from collections.abc import Mapping, Sequence

from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison, best, by_place, ranked
from medstrata.report.compare.differences import Contrast, Family
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import (
    counted,
    interval_text,
    listed,
    metric_name,
    percent,
    protocol_clause,
    score_text,
    signed,
    span,
)
from medstrata.report.render.seed_summary import Summary

_PLAIN = "moco"  # the arm without an intermediate loss


def headline(found: Sequence[Comparison[Finetune]], paired: Mapping[str, Sequence[Family]]) -> str:
    """What is known of the intermediate losses, then of the first comparison's smallest fraction.

    Args:
        found: The comparisons.
        paired: Name of a comparison -> its paired differences.
    """
    several = len(by_place(found)) > 1
    for comparison in found:
        for fraction in comparison.fractions:
            if len(comparison.column(fraction, comparison.metric)) > 1:
                help_given = _intermediate_losses([one for its in paired.values() for one in its])
                first = _headline(comparison, fraction, paired.get(comparison.name, ()))
                # Of several data sets, the one it is about is named.
                where = f"On {comparison.store.name}, {comparison.task.name}: with"
                return f"{help_given}{where if several else 'With'} {first}"
    return (
        "At no label fraction do two arms have a score on the same task and store: nothing can be "
        "compared."
    )


def _intermediate_losses(families: Sequence[Family]) -> str:
    """Whether arms with intermediate losses beat plain MoCo, each at its smallest fraction."""
    found = [
        family.contrasts[arm, family.fractions[0]]
        for family in families
        if family.name == _PLAIN and family.fractions
        for arm in family.arms
        if arm.startswith(f"{_PLAIN}_") and arm not in family.other_backbone
        if (arm, family.fractions[0]) in family.contrasts
    ]
    if not found:
        return ""
    fractions = {family.fractions[0] for family in families if family.name == _PLAIN}
    share = (
        f"With {percent(min(fractions))} of the labels"
        if len(fractions) == 1
        else "At the smallest share of labels of each comparison"
    )
    better = sum(one.better > 0 for one in found)
    worse = sum(one.better < 0 for one in found)
    if not better and not worse:
        return (
            f"{share}, no arm with an intermediate loss is clearly better or worse than plain MoCo "
            f"({counted(len(found), 'comparison')}). "
        )
    parts = [
        f"clearly {word} than plain MoCo in {number} of {counted(len(found), 'comparison')}"
        for word, number in (("better", better), ("worse", worse))
        if number
    ]
    return f"{share}, arms with an intermediate loss are {' and '.join(parts)}. "


def _headline(comparison: Comparison[Finetune], fraction: float, families: Sequence[Family]) -> str:
    """What follows "With"."""
    metric = comparison.metric
    column = comparison.column(fraction, metric)
    order = ranked(column, metric)
    top = column[order[0]]
    subsets = [run.subset for runs in comparison.at(fraction).values() for run in runs]
    images = span(subset.images for subset in subsets)
    patients = span(subset.patients for subset in subsets)
    several = len(top.seeds) > 1
    extras = [f"the mean of {len(top.seeds)} seeds"] if several else []
    if top.interval is not None:
        of_median = " for the median seed" if several and not top.of_mean else ""
        interval = interval_text(top.interval)
        extras.append(f"{percent(0.95)} interval over patients{of_median} {interval}")
    leaders = [arm for arm in order if arm in best(column, metric)]
    end = "lowest" if metric in LOWER_IS_BETTER else "highest"
    around = f" ({'; '.join(extras)})" if extras else ""
    return (
        f"{percent(fraction)} of the labels ({images} images of {patients} patients) and "
        f"{protocol_clause(comparison.protocol)}, {listed(leaders)} "
        f"{'has' if len(leaders) == 1 else 'have'} the {end} {metric_name(metric)} of "
        f"{counted(len(column), 'arm')}: {score_text(top.value)}{around}. "
        f"{_leader(families, fraction, leaders) or standing(column, order)}"
    )


def conclusions(
    comparison: Comparison[Finetune], families: Sequence[Family] = ()
) -> list[tuple[float, str]]:
    """What each fraction with a score shows: (fraction, sentences).

    Args:
        comparison: What was compared.
        families: Its paired differences; may be empty.
    """
    return [
        (fraction, _finding(column, comparison.metric, _against(families, fraction)))
        for fraction, column in comparison.columns(comparison.metric).items()
    ]


def _finding(column: Mapping[str, Summary], metric: str, paired: str) -> str:
    if len(column) == 1:
        ((arm, only),) = column.items()
        return f"Only {arm} {score_text(only.value)}: nothing to compare with."
    alone = [arm for arm in ranked(column, metric) if len(column[arm].seeds) == 1]
    seeds = f" One seed only: {listed(alone) if len(alone) < len(column) else 'every arm'}."
    return f"{places_taken(column, metric, paired)}{seeds if alone else ''}"


def places_taken(column: Mapping[str, Summary], metric: str, paired: str = "") -> str:
    """Which of several arms comes first, and whether that is more than chance.

    Args:
        column: Arm -> what it scores.
        metric: Tells which is better.
        paired: What paired differences say, in place of what the intervals do.
    """
    order = ranked(column, metric)
    first, second = (f"{arm} {score_text(column[arm].value)}" for arm in order[:2])
    leaders = best(column, metric)
    if len(leaders) > 1:
        tied = [arm for arm in order if arm in leaders]
        text = f"{listed(tied)} share the first place at {score_text(column[order[0]].value)}."
    else:
        text = f"{first} comes first, {second} next."
    return f"{text} {paired or standing(column, order)}"


def _against(families: Sequence[Family], fraction: float) -> str:
    """How arms stand to each baseline; empty where no difference could be paired."""
    against = []
    for family in families:
        there = {arm: one for arm in family.arms if (one := family.contrasts.get((arm, fraction)))}
        parts = [
            f"{listed(clear)} {_is(clear)} clearly {word}"
            for sign, word in ((1, "better"), (-1, "worse"))
            if (clear := _with_differences(there, sign))
        ]
        rest = [arm for arm, one in there.items() if not one.better]
        if rest:
            parts.append(f"{listed(rest)} {_is(rest)} not clearly apart")
        if parts:
            against.append(f"Against {_named(family)}, {'; '.join(parts)}.")
    return " ".join(against)


def _leader(families: Sequence[Family], fraction: float, leaders: Sequence[str]) -> str:
    """How the leading arm stands to the baselines; how all do where several or a baseline lead."""
    found = {
        _named(family): one
        for family in families
        if (one := family.contrasts.get((leaders[0], fraction)))
    }
    if len(leaders) > 1 or not found:
        return _against(families, fraction)
    phrases = {1: "clearly better than", 0: "not clearly apart from", -1: "clearly worse than"}
    parts = [
        f"{phrase} {listed(names)}"
        for sign, phrase in phrases.items()
        if (names := _with_differences(found, sign))
    ]
    return f"It is {'; '.join(parts)}."


def _with_differences(found: Mapping[str, Contrast], better: int) -> list[str]:
    """The names of the contrasts that come out so, each with its difference."""
    return [
        f"{name} ({signed(one.difference.value)})"
        for name, one in found.items()
        if one.better == better
    ]


def _named(family: Family) -> str:
    return "plain MoCo" if family.baseline == _PLAIN else family.baseline


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def standing(column: Mapping[str, Summary], order: Sequence[str]) -> str:
    """How far the first arm lies clear of the others."""
    first, others = order[0], list(order[1:])
    if any(summary.interval is None for summary in column.values()):
        return "An interval is missing for at least one arm, so nothing is said about chance."
    overlapping = meeting(column, order)
    clear = [arm for arm in others if arm not in overlapping]
    owner = f"The interval of {first}"
    if not overlapping:
        return f"{owner} lies clear of {_of_all(others)}."
    if not clear:
        return f"{owner} overlaps {_of_all(others)}, so which arm is best is not settled."
    return (
        f"{owner} overlaps {_of(overlapping)}, so the order among these is not settled; it lies "
        f"clear of {_of(clear)}."
    )


def meeting(column: Mapping[str, Summary], order: Sequence[str]) -> list[str]:
    """The arms whose reach meets that of the first."""
    low, high = column[order[0]].reach
    return [
        arm for arm in order[1:] if column[arm].reach[0] <= high and low <= column[arm].reach[1]
    ]


def _of(names: Sequence[str]) -> str:
    return f"{'that' if len(names) == 1 else 'those'} of {listed(names)}"


def _of_all(others: Sequence[str]) -> str:
    if len(others) == 1:
        return _of(others)
    return f"those of {'both' if len(others) == 2 else f'all {len(others)}'} other arms"
