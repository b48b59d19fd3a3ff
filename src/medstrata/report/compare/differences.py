"""Paired differences between arms: the same patients, the same labelled images, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.metrics.paired_difference import (
    Difference,
    holm,
    paired_difference,
    permutation_test,
)
from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.predictions import LEVEL
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import listed, percent
from medstrata.runtime.console import progress_bar

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
class ContrastFamily:
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
    notes: tuple[ReportNote, ...]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fractions at which there is a contrast."""
        return tuple(sorted({fraction for _, fraction in self.contrasts}))


def identity(comparison: Comparison[Finetune], arm: str) -> tuple[str, str]:
    """What an arm began with, as `Finetune.start`, and its backbone."""
    run = next(iter(comparison.of(arm).values()))[0]
    return run.start, run.backbone


def families(comparison: Comparison[Finetune]) -> tuple[ContrastFamily, ...]:
    """Hold every arm against each baseline there is; two arms meet once."""
    families: list[ContrastFamily] = []
    for name in BASELINES:
        for baseline in comparison.arms:
            if identity(comparison, baseline)[0] == name:
                met = [family.baseline for family in families]
                others = [arm for arm in comparison.arms if arm not in (baseline, *met)]
                families.append(_family(comparison, baseline, others))
    return tuple(family for family in families if family.contrasts or family.notes)


def paired_differences(
    comparisons: Sequence[Comparison[Finetune]],
) -> dict[str, tuple[ContrastFamily, ...]]:
    """The families of differences of each comparison, by its name; with a progress bar."""
    paired = {}
    with progress_bar() as bar:
        for comparison in bar.track(comparisons, description="comparing arms"):
            # Kept by the predictions: every table asks for them again.
            for metric in comparison.metrics:
                for fraction in comparison.fractions:
                    comparison.column(fraction, metric)
            paired[comparison.name] = families(comparison)
    return paired


def matched(
    comparison: Comparison[Finetune], arm: str, baseline: str, fraction: float
) -> tuple[list[Finetune], list[Finetune]]:
    """Runs of the seeds that both have, with predictions, on the same labelled images."""
    by_seed = {run.seed: run for run in comparison.predicted(baseline, fraction)}
    pairs = [
        (run, other)
        for run in comparison.predicted(arm, fraction)
        if (other := by_seed.get(run.seed)) is not None and run.labelled == other.labelled
    ]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _family(
    comparison: Comparison[Finetune], baseline: str, others: Sequence[str]
) -> ContrastFamily:
    pairs: dict[tuple[str, float], tuple[list[Finetune], list[Finetune]]] = {}
    notes = []
    for arm in others:
        lost = []
        for fraction in comparison.fractions:
            pair = matched(comparison, arm, baseline, fraction)
            if pair[0]:
                pairs[arm, fraction] = pair
            elif {arm, baseline} <= comparison.at(fraction).keys():
                lost.append(percent(fraction))
        if lost:
            why = (
                f"no paired difference at {listed(lost)} of the labels: no seed of both has "
                "predictions and the same labelled images"
            )
            notes.append(ReportNote(what=f"{comparison.clause}: {arm} against {baseline}", why=why))
    name, backbone = identity(comparison, baseline)
    return ContrastFamily(
        baseline=baseline,
        name=name,
        contrasts=_contrasts(comparison, pairs),
        arms=tuple(arm for arm in others if any(arm == one for one, _ in pairs)),
        other_backbone=frozenset(arm for arm in others if identity(comparison, arm)[1] != backbone),
        notes=tuple(notes),
    )


def _contrasts(
    comparison: Comparison[Finetune],
    pairs: Mapping[tuple[str, float], tuple[list[Finetune], list[Finetune]]],
) -> dict[tuple[str, float], Contrast]:
    if not comparison.predictions.knows(comparison.metric):
        return {}
    permutations = max(_PERMUTATIONS, _PER_CONTRAST * len(pairs))
    differences: dict[tuple[str, float], Difference] = {}
    for cell, (firsts, seconds) in pairs.items():
        try:
            differences[cell] = _difference(comparison, firsts, seconds, permutations)
        except ValueError:  # not defined in any resample: too few patients of a class
            continue
    adjusted = holm([difference.p_value for difference in differences.values()])
    return {
        cell: Contrast(
            seeds=tuple(run.seed for run in pairs[cell][0]),
            difference=difference,
            adjusted=p_value,
            better=_direction(difference, p_value, comparison.metric),
        )
        for (cell, difference), p_value in zip(differences.items(), adjusted, strict=True)
    }


def _difference(
    comparison: Comparison[Finetune],
    firsts: Sequence[Finetune],
    seconds: Sequence[Finetune],
    permutations: int,
) -> Difference:
    predictions, metric = comparison.predictions, comparison.metric
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
