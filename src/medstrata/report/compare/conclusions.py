"""What comparisons show, in sentences.

An arm counts as better or worse than a baseline only by their paired difference: its p-value,
adjusted by Holm's method, is below 0.05, and there are seeds and draws of the labels enough to tell
how others would do. Where there is none, two arms count as apart only when neither their intervals
over patients nor the scores of their runs touch, three or more of each.
"""

from collections.abc import Mapping, Sequence

from medstrata.report.compare.comparison import Comparison, best_arms, ranked
from medstrata.report.compare.differences import Contrast, ContrastFamily
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import (
    listed,
    score_text,
    signed,
)
from medstrata.report.render.run_summary import Summary

PLAIN = "moco"  # the arm without an intermediate loss
_RUNS_NEEDED = 3


def conclusions(
    comparison: Comparison[Finetune], families: Sequence[ContrastFamily] = ()
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
    alone = [arm for arm in ranked(column, metric) if len(column[arm].runs) == 1]
    runs = f" One run only: {listed(alone) if len(alone) < len(column) else 'every arm'}."
    return f"{ranking_sentence(column, metric, paired)}{runs if alone else ''}"


def ranking_sentence(column: Mapping[str, Summary], metric: str, paired: str = "") -> str:
    """Which of several arms comes first, and whether that is more than chance.

    Args:
        column: Arm -> what it scores.
        metric: Tells which is better.
        paired: What paired differences say, in place of what the intervals do.
    """
    order = ranked(column, metric)
    first, second = (f"{arm} {score_text(column[arm].value)}" for arm in order[:2])
    leaders = best_arms(column, metric)
    if len(leaders) > 1:
        tied = [arm for arm in order if arm in leaders]
        text = f"{listed(tied)} share the first place at {score_text(column[order[0]].value)}."
    else:
        text = f"{first} comes first, {second} next."
    return f"{text} {paired or overlap_sentence(column, order)}"


def _against(families: Sequence[ContrastFamily], fraction: float) -> str:
    """How arms stand to each baseline; empty where no difference could be paired."""
    against = []
    for family in families:
        there = {arm: one for arm in family.arms if (one := family.contrasts.get((arm, fraction)))}
        parts = [
            f"{listed(clear)} {_is(clear)} clearly {word}"
            for sign, word in ((1, "better"), (-1, "worse"))
            if (clear := _with_differences(there, sign))
        ]
        rest = [arm for arm, one in there.items() if not one.better and not one.too_few]
        if rest:
            parts.append(f"{listed(rest)} {_is(rest)} not clearly apart")
        parts += [f"no verdict on {listed(arms)}: {why}" for why, arms in _without(there).items()]
        if parts:
            against.append(f"Against {_named(family)}, {'; '.join(parts)}.")
    return " ".join(against)


def leader_sentence(
    families: Sequence[ContrastFamily], fraction: float, leaders: Sequence[str]
) -> str:
    """How the leading arm stands to the baselines; how all do where several or a baseline lead."""
    contrasts = {
        _named(family): one
        for family in families
        if (one := family.contrasts.get((leaders[0], fraction)))
    }
    if len(leaders) > 1 or not contrasts:
        return _against(families, fraction)
    phrases = {1: "clearly better than", 0: "not clearly apart from", -1: "clearly worse than"}
    parts = [
        f"{phrase} {listed(names)}"
        for sign, phrase in phrases.items()
        if (names := _with_differences(contrasts, sign))
    ]
    sentences = [f"It is {'; '.join(parts)}."] if parts else []
    sentences += [
        f"No verdict against {listed(names)}: {why}." for why, names in _without(contrasts).items()
    ]
    return " ".join(sentences)


def _without(contrasts: Mapping[str, Contrast]) -> dict[str, list[str]]:
    """What there is too little of for a verdict -> the names of the contrasts without one."""
    names: dict[str, list[str]] = {}
    for name, one in contrasts.items():
        if one.too_few:
            names.setdefault(one.too_few, []).append(name)
    return names


def _with_differences(contrasts: Mapping[str, Contrast], better: int) -> list[str]:
    """The names of the contrasts that come out so, each with its difference."""
    return [
        f"{name} ({signed(one.difference.value)})"
        for name, one in contrasts.items()
        if one.better == better and not one.too_few
    ]


def _named(family: ContrastFamily) -> str:
    return "plain MoCo" if family.baseline == PLAIN else family.baseline


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def overlap_sentence(column: Mapping[str, Summary], order: Sequence[str]) -> str:
    """How far the first arm lies clear of the others."""
    first, others = order[0], list(order[1:])
    if any(summary.interval is None for summary in column.values()):
        return "An interval is missing for at least one arm, so nothing is said about chance."
    if any(len(summary.runs) < _RUNS_NEEDED for summary in column.values()):
        return "Fewer than three runs of at least one arm: no verdict."
    overlapping = overlapping_arms(column, order)
    clear = [arm for arm in others if arm not in overlapping]
    owner = f"The interval of {first}"
    if not overlapping:
        return f"{owner} lies clear of {_of_all(others)}."
    if not clear:
        return f"{owner} overlaps {_of_all(others)}, so which arm is best is not settled."
    return (
        f"{owner} overlaps {_of_arms(overlapping)}, so the order among these is not settled; it "
        f"lies clear of {_of_arms(clear)}."
    )


def overlapping_arms(column: Mapping[str, Summary], order: Sequence[str]) -> list[str]:
    """The arms whose reach meets that of the first."""
    low, high = column[order[0]].reach
    return [
        arm for arm in order[1:] if column[arm].reach[0] <= high and low <= column[arm].reach[1]
    ]


def _of_arms(names: Sequence[str]) -> str:
    return f"{'that' if len(names) == 1 else 'those'} of {listed(names)}"


def _of_all(others: Sequence[str]) -> str:
    if len(others) == 1:
        return _of_arms(others)
    return f"those of {'both' if len(others) == 2 else f'all {len(others)}'} other arms"
