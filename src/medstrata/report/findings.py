"""What comparisons show, in sentences that never claim more than the numbers.

Two arms count as apart only when neither their intervals over patients nor their scores over seeds
touch. That is stricter than a test of paired differences would be, never laxer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare import ERRORS, Bench, Comparison, Summary, best, ranked
from medstrata.report.words import (
    counted,
    interval_text,
    listed,
    metric_name,
    percent,
    protocol_clause,
    score_text,
    span,
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one label fraction shows."""

    fraction: float
    text: str


def headline(benches: Sequence[Bench]) -> str:
    """The first comparison's smallest fraction at which there are two arms to compare."""
    for bench in benches:
        for comparison in bench.comparisons:
            shared = _shared(bench, comparison)
            if shared:
                return _headline(bench, comparison, shared[0])
    return (
        "At no label fraction do two arms have a score on the same task and store: nothing can be "
        "compared."
    )


def _headline(bench: Bench, comparison: Comparison, fraction: float) -> str:
    column = comparison.column(fraction, bench.metric)
    order = ranked(column, bench.metric)
    top = column[order[0]]
    runs = comparison.at(fraction)
    images = span(run.subset_images for run in runs)
    patients = span(run.subset_patients for run in runs)
    several = len(top.seeds) > 1
    extras = [f"the mean of {len(top.seeds)} seeds"] if several else []
    if top.interval is not None:
        of_median = " for the median seed" if several else ""
        interval = interval_text(top.interval)
        extras.append(f"{percent(0.95)} interval over patients{of_median} {interval}")
    leaders = [arm for arm in order if arm in best(column, bench.metric)]
    end = "lowest" if bench.metric in ERRORS else "highest"
    around = f" ({'; '.join(extras)})" if extras else ""
    return (
        f"With {percent(fraction)} of the labels ({images} images of {patients} patients) and "
        f"{protocol_clause(comparison.protocol)}, {listed(leaders)} "
        f"{'has' if len(leaders) == 1 else 'have'} the {end} {metric_name(bench.metric)} of "
        f"{counted(len(column), 'arm')}: {score_text(top.value)}{around}. "
        f"{_standing(column, order)}"
    )


def findings(bench: Bench, comparison: Comparison) -> list[Finding]:
    """What each fraction with a score shows."""
    return [
        Finding(fraction=fraction, text=_finding(column, bench.metric))
        for fraction in comparison.fractions
        if (column := comparison.column(fraction, bench.metric))
    ]


def _shared(bench: Bench, comparison: Comparison) -> list[float]:
    return [one for one in comparison.fractions if len(comparison.column(one, bench.metric)) > 1]


def _finding(column: Mapping[str, Summary], metric: str) -> str:
    order = ranked(column, metric)
    first = f"{order[0]} {score_text(column[order[0]].value)}"
    if len(order) == 1:
        return f"Only {first}: nothing to compare with."
    second = f"{order[1]} {score_text(column[order[1]].value)}"
    leaders = best(column, metric)
    if len(leaders) > 1:
        tied = [arm for arm in order if arm in leaders]
        text = f"{listed(tied)} share the first place at {score_text(column[order[0]].value)}."
    else:
        text = f"{first} comes first, {second} next."
    alone = [arm for arm in order if len(column[arm].seeds) == 1]
    seeds = f" One seed only: {listed(alone) if len(alone) < len(order) else 'every arm'}."
    return f"{text} {_standing(column, order)}{seeds if alone else ''}"


def _standing(column: Mapping[str, Summary], order: Sequence[str]) -> str:
    """How far the first arm lies clear of the others."""
    first, others = order[0], list(order[1:])
    if any(summary.interval is None for summary in column.values()):
        return "An interval is missing for at least one arm, so nothing is said about chance."
    low, high = column[first].reach
    overlapping = [
        arm for arm in others if column[arm].reach[0] <= high and low <= column[arm].reach[1]
    ]
    clear = [arm for arm in others if arm not in overlapping]
    owner = f"The interval of {first}"
    if not overlapping:
        return f"{owner} lies clear of {_of_all(others)}."
    if not clear:
        return f"{owner} overlaps {_of_all(others)}, so which arm is best is not settled."
    theirs = "that" if len(overlapping) == 1 else "those"
    others_theirs = "that" if len(clear) == 1 else "those"
    return (
        f"{owner} overlaps {theirs} of {listed(overlapping)}, so the order among these is not "
        f"settled; it lies clear of {others_theirs} of {listed(clear)}."
    )


def _of_all(others: Sequence[str]) -> str:
    if len(others) == 1:
        return f"that of {others[0]}"
    return f"those of {'both' if len(others) == 2 else f'all {len(others)}'} other arms"
