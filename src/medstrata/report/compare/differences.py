"""Paired differences between arms: the same patients, and the same draws of the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.metrics.paired_difference import Difference, holm, paired_difference
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.run_grid import RunGrid, paired_grids
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import listed, percent
from medstrata.runtime.console import progress_bar
from medstrata.runtime.errors import MedstrataError

SCRATCH = "scratch"
# Arms that others are always held against, in the order of their tables.
BASELINES = (SCRATCH, "imagenet", "moco")
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm against a baseline at one fraction.

    Attributes:
        difference: Score of the arm less that of the baseline.
        adjusted: The p-value after Holm's correction over the family.
        seeds: How many the arm and the baseline have.
        draws: Draws of the labels that both have.
        too_few: What there is too little of for a verdict, as "one pre-training run of moco"; else
            empty.
        better: 1 where the arm is clearly better, -1 where it is clearly worse, else 0: clearly
            means an adjusted p-value below 0.05, and enough seeds and draws.
    """

    difference: Difference
    adjusted: float
    seeds: tuple[int, int]
    draws: int
    too_few: str
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


def is_baseline(comparison: Comparison[Finetune], arm: str, name: str) -> bool:
    """Whether a baseline of this name is meant by an arm: what it began with, or its own name."""
    run = next(iter(comparison.of(arm).values()))[0]
    return name in (run.start, run.arm)


def all_baselines(
    comparisons: Sequence[Comparison[Finetune]], named: Sequence[str]
) -> tuple[str, ...]:
    """`BASELINES`, then those that the user named.

    Raises:
        MedstrataError: no fine-tuned run is of an arm that was named.
    """
    arms = {run.arm for one in comparisons for run in one.every}
    for name in named:
        if name not in arms:
            there = f"there are {listed(sorted(arms))}" if arms else "there are none"
            raise MedstrataError(f"baseline {name}: no fine-tuned run is of such an arm; {there}")
    return tuple(dict.fromkeys((*BASELINES, *named)))


def families(
    comparison: Comparison[Finetune], baselines: Sequence[str] = BASELINES
) -> tuple[ContrastFamily, ...]:
    """Hold every arm against each baseline there is; two arms meet once."""
    families: list[ContrastFamily] = []
    for name in baselines:
        for baseline in comparison.arms:
            if is_baseline(comparison, baseline, name):
                met = [family.baseline for family in families]
                others = [arm for arm in comparison.arms if arm not in (baseline, *met)]
                families.append(_family(comparison, baseline, others))
    return tuple(family for family in families if family.contrasts or family.notes)


def paired_differences(
    comparisons: Sequence[Comparison[Finetune]], baselines: Sequence[str] = BASELINES
) -> dict[str, tuple[ContrastFamily, ...]]:
    """The families of differences of each comparison, by its name; with a progress bar."""
    paired = {}
    with progress_bar() as bar:
        for comparison in bar.track(comparisons, description="comparing arms"):
            # Kept by the predictions: every table asks for them again.
            for metric in comparison.metrics:
                for fraction in comparison.fractions:
                    comparison.column(fraction, metric)
            paired[comparison.name] = families(comparison, baselines)
    return paired


def paired_runs(
    comparison: Comparison[Finetune], arm: str, baseline: str, fraction: float
) -> tuple[RunGrid, RunGrid] | None:
    """Their runs with predictions, on the draws of the labels that both have."""
    return paired_grids(
        comparison.predicted(arm, fraction), comparison.predicted(baseline, fraction)
    )


def difference_of(
    comparison: Comparison[Finetune], grids: tuple[RunGrid, RunGrid], *, same_draws: bool = True
) -> Difference | None:
    """By the main metric; None where that is not defined, or of too few patients."""
    predictions, metric = comparison.predictions, comparison.metric
    if not predictions.knows(metric):
        return None
    first, second = (grid.scores(predictions, metric) for grid in grids)
    patients = len(np.unique(predictions.patient_ids))
    try:
        return paired_difference(
            first, second, patients=patients, same_draws=same_draws, level=LEVEL
        )
    except ValueError:
        return None


def _family(
    comparison: Comparison[Finetune], baseline: str, others: Sequence[str]
) -> ContrastFamily:
    pairs: dict[tuple[str, float], tuple[RunGrid, RunGrid]] = {}
    notes = []
    for arm in others:
        lost = []
        for fraction in comparison.fractions:
            pair = paired_runs(comparison, arm, baseline, fraction)
            if pair is not None:
                pairs[arm, fraction] = pair
            elif {arm, baseline} <= comparison.at(fraction).keys():
                lost.append(percent(fraction))
        if lost:
            why = (
                f"no paired difference at {listed(lost)} of the labels: no runs of both have "
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
    comparison: Comparison[Finetune], pairs: Mapping[tuple[str, float], tuple[RunGrid, RunGrid]]
) -> dict[tuple[str, float], Contrast]:
    differences = {
        cell: difference
        for cell, grids in pairs.items()
        if (difference := difference_of(comparison, grids)) is not None
    }
    adjusted = holm([difference.p_value for difference in differences.values()])
    contrasts = {}
    for (cell, difference), p_value in zip(differences.items(), adjusted, strict=True):
        first, second = pairs[cell]
        too_few = first.too_few or second.too_few
        higher = difference.value > 0
        better = 1 if higher != (comparison.metric in LOWER_IS_BETTER) else -1
        contrasts[cell] = Contrast(
            difference=difference,
            adjusted=p_value,
            seeds=(first.seeds, second.seeds),
            draws=first.draws,
            too_few=too_few,
            better=better if p_value < ALPHA and not too_few else 0,
        )
    return contrasts
