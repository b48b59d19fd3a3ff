"""Paired differences between arms: the same patients, the same labelled images, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.metrics.intervals import LOWER_IS_BETTER
from medstrata.metrics.paired import Difference, holm, paired_difference, permutation_test
from medstrata.report.compare.compare import Bench, Comparison, given_labels
from medstrata.report.read.facts import Note
from medstrata.report.read.predictions import LEVEL
from medstrata.report.read.runs import Finetune
from medstrata.report.render.formatting import listed, percent

# Arms that others are held against, in the order of their tables.
BASELINES = ("scratch", "imagenet", "moco")
# So many permutations that Holm's correction leaves the smallest p-value far below 0.05.
_PERMUTATIONS, _PER_CONTRAST = 2000, 100
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm against a baseline at one fraction.

    Attributes:
        seeds: Those that both have with the same labelled images.
        difference: Score of the arm less that of the baseline.
        adjusted: The p-value after Holm's correction over the family.
        better: 1 where the arm is clearly better, -1 where it is clearly worse, else 0: clearly
            means an adjusted p-value below 0.05 and an interval without 0.
    """

    seeds: tuple[int, ...]
    difference: Difference
    adjusted: float
    better: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """Every arm against one baseline under one protocol: what Holm's correction goes over.

    Attributes:
        baseline: As it is shown.
        name: The baseline as its runs name it.
        contrasts: (arm, fraction) -> contrast.
        arms: Those that have one, in the order of the comparison.
        other_backbone: Those among them whose backbone is not the baseline's.
        notes: What could not be compared.
    """

    baseline: str
    name: str
    contrasts: Mapping[tuple[str, float], Contrast]
    arms: tuple[str, ...]
    other_backbone: frozenset[str]
    notes: tuple[Note, ...]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fractions at which there is a contrast."""
        return tuple(sorted({fraction for _, fraction in self.contrasts}))


def families(bench: Bench, comparison: Comparison) -> tuple[Family, ...]:
    """Hold every arm against each baseline there is; two arms meet once."""
    found: list[Family] = []
    for name in BASELINES:
        for baseline in comparison.arms:
            if comparison.identity(baseline)[0] == name:
                met = [family.baseline for family in found]
                others = [arm for arm in comparison.arms if arm not in (baseline, *met)]
                found.append(_family(bench, comparison, baseline, others))
    return tuple(family for family in found if family.contrasts or family.notes)


def matched(
    comparison: Comparison, firsts: Sequence[Finetune], seconds: Sequence[Finetune]
) -> tuple[list[Finetune], list[Finetune]]:
    """Runs of the seeds that both sides have, with predictions, on the same labelled images."""
    covered = comparison.predictions.covered
    by_seed = {run.seed: run for run in covered(seconds)}
    pairs = [
        (run, other)
        for run in covered(firsts)
        if (other := by_seed.get(run.seed)) is not None and given_labels(run) == given_labels(other)
    ]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _family(bench: Bench, comparison: Comparison, baseline: str, others: Sequence[str]) -> Family:
    pairs: dict[tuple[str, float], tuple[list[Finetune], list[Finetune]]] = {}
    notes = []
    for arm in others:
        lost = []
        for fraction in comparison.fractions:
            firsts = comparison.runs.get((arm, fraction), ())
            seconds = comparison.runs.get((baseline, fraction), ())
            pair = matched(comparison, firsts, seconds)
            if pair[0]:
                pairs[arm, fraction] = pair
            elif firsts and seconds:
                lost.append(percent(fraction))
        if lost:
            notes.append(_unpaired(bench, comparison, f"{arm} against {baseline}", lost))
    name, backbone = comparison.identity(baseline)
    return Family(
        baseline=baseline,
        name=name,
        contrasts=_contrasts(bench, pairs),
        arms=tuple(arm for arm in others if any(arm == one for one, _ in pairs)),
        other_backbone=frozenset(arm for arm in others if comparison.identity(arm)[1] != backbone),
        notes=tuple(notes),
    )


def _unpaired(bench: Bench, comparison: Comparison, pair: str, lost: Sequence[str]) -> Note:
    where = bench.under(comparison)
    return Note(
        what=f"{where}: {pair}",
        why=f"no paired difference at {listed(lost)} of the labels: no seed of both has "
        "predictions and the same labelled images",
    )


def _contrasts(
    bench: Bench,
    pairs: Mapping[tuple[str, float], tuple[list[Finetune], list[Finetune]]],
) -> dict[tuple[str, float], Contrast]:
    if not bench.predictions.knows(bench.metric):
        return {}
    permutations = max(_PERMUTATIONS, _PER_CONTRAST * len(pairs))
    found: dict[tuple[str, float], Difference] = {}
    for cell, (firsts, seconds) in pairs.items():
        try:
            found[cell] = _difference(bench, firsts, seconds, permutations)
        except ValueError:  # not defined in any resample: too few patients of a class
            continue
    adjusted = holm([difference.p_value for difference in found.values()])
    return {
        cell: Contrast(
            seeds=tuple(run.seed for run in pairs[cell][0]),
            difference=difference,
            adjusted=p_value,
            better=_direction(difference, p_value, bench.metric),
        )
        for (cell, difference), p_value in zip(found.items(), adjusted, strict=True)
    }


def _difference(
    bench: Bench, firsts: Sequence[Finetune], seconds: Sequence[Finetune], permutations: int
) -> Difference:
    predictions, metric = bench.predictions, bench.metric
    scores, others = (predictions.scores(metric, runs) for runs in (firsts, seconds))
    p_value = permutation_test(
        metric,
        predictions.target,
        predictions.of(firsts),
        predictions.of(seconds),
        predictions.kind,
        predictions.patient_ids,
        permutations=permutations,
    )
    return paired_difference(scores, others, p_value=p_value, level=LEVEL)


def _direction(difference: Difference, adjusted: float, metric: str) -> int:
    if adjusted >= ALPHA or difference.low <= 0 <= difference.high:
        return 0
    higher = difference.low > 0
    return 1 if higher != (metric in LOWER_IS_BETTER) else -1
