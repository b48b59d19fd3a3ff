"""What a comparison shows, in sentences that never claim more than the numbers."""

from collections.abc import Iterator, Mapping, Sequence

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


def findings(bench: Bench, comparison: Comparison) -> list[str]:
    """Sentences on the smallest and the largest fraction at which arms can be compared.

    Two arms count as apart only when neither their intervals over patients nor their scores over
    seeds touch. That is stricter than a test of paired differences would be, never laxer.
    """
    metric = bench.metric
    shared = [one for one in comparison.fractions if len(comparison.column(one, metric)) > 1]
    if not shared:
        arms = listed(comparison.arms)
        return [
            f"For {bench.task.name} on {bench.store.name}, with "
            f"{protocol_clause(comparison.protocol)}, no label fraction has scores of two arms "
            f"(there is {arms}): nothing can be compared."
        ]
    said = list(_smallest(bench, comparison, shared[0]))
    if len(shared) > 1:
        column = comparison.column(shared[-1], metric)
        leaders = sorted(best(column, metric))
        order = ranked(column, metric)
        said.append(
            f"With {percent(shared[-1])} of the labels, {listed(leaders)} "
            f"{'leads' if len(leaders) == 1 else 'lead'} at {_value(column[order[0]])}: "
            f"{_standing(column, order)}."
        )
    seeds = {
        len(summary.seeds) for one in shared for summary in _summaries(comparison, one, metric)
    }
    if min(seeds) == 1:
        subject = "Each arm was" if max(seeds) == 1 else "Some arms were"
        said.append(
            f"{subject} run with one seed only, so how far another draw of labelled images would "
            "move these numbers is not known."
        )
    return said


def _summaries(comparison: Comparison, fraction: float, metric: str) -> list[Summary]:
    return list(comparison.column(fraction, metric).values())


def _smallest(bench: Bench, comparison: Comparison, fraction: float) -> Iterator[str]:
    metric = bench.metric
    column = comparison.column(fraction, metric)
    order = ranked(column, metric)
    runs = comparison.at(fraction)
    images = span(run.subset_images for run in runs)
    patients = span(run.subset_patients for run in runs)
    end = "lowest" if metric in ERRORS else "highest"
    yield (
        f"With {percent(fraction)} of the labels ({images} images of {patients} patients) and "
        f"{protocol_clause(comparison.protocol)}, {order[0]} has the {end} {metric_name(metric)} "
        f"of {counted(len(column), 'arm')} for {bench.task.name} on {bench.store.name}: "
        f"{_value(column[order[0]], explain=True)}."
    )
    standing = _standing(column, order)
    yield f"Next is {order[1]} with {_value(column[order[1]])}."
    yield f"{standing[0].upper()}{standing[1:]}."


def _value(summary: Summary, *, explain: bool = False) -> str:
    parts, several = [], len(summary.seeds) > 1
    if several:
        ends = interval_text((summary.seeds[0], summary.seeds[-1]))
        parts.append(f"mean of {len(summary.seeds)} seeds from {ends}")
    if summary.interval is not None:
        of_median = " for the median seed" if explain and several else ""
        kind = f"{percent(0.95)} interval" + (" over patients" if explain else "")
        parts.append(f"{kind}{of_median} {interval_text(summary.interval)}")
    return score_text(summary.value) + (f" ({'; '.join(parts)})" if parts else "")


def _standing(column: Mapping[str, Summary], order: Sequence[str]) -> str:
    first, others = order[0], list(order[1:])
    if any(summary.interval is None for summary in column.values()):
        return "an interval is missing for at least one arm, so nothing is said about chance"
    low, high = column[first].reach
    overlapping = [
        arm for arm in others if column[arm].reach[0] <= high and low <= column[arm].reach[1]
    ]
    clear = [arm for arm in others if arm not in overlapping]
    if not overlapping:
        return f"its interval lies clear of {_of_all(others)}"
    if not clear:
        return f"its interval overlaps {_of_all(others)}, so which arm is better is not settled"
    return (
        f"its interval overlaps that of {listed(overlapping)}, so the order among these is not "
        f"settled; it lies clear of that of {listed(clear)}"
    )


def _of_all(others: Sequence[str]) -> str:
    return f"that of {others[0]}" if len(others) == 1 else f"those of all {len(others)} other arms"
