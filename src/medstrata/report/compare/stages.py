"""How the stages of encoders are named and put in order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from medstrata.report.render.formatting import listed

RunT = TypeVar("RunT")
Value = TypeVar("Value")

# What a classifier would read; it stands after the stages.
POOLED = "pooled"


def stage_order(runs: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The stages of all runs in the order of the network, the pooled features last."""
    names = dict.fromkeys(stage for stages in runs for stage in stages)
    return tuple(sorted(names, key=lambda stage: stage == POOLED))


def shown_stages(runs: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The stages worth showing: the pooled features are left out where they are the last stage's.

    Args:
        runs: For each run, what is known of each stage.
    """
    stages = stage_order(runs)
    if len(stages) < 2 or stages[-1] != POOLED:
        return stages
    echo = all(POOLED in run and run[POOLED] == run.get(stages[-2]) for run in runs)
    return stages[:-1] if echo else stages


def stages_named(runs: Sequence[Mapping[str, object]]) -> str:
    """Which stages are shown, in a sentence."""
    stages = shown_stages(runs)
    echo = stages != stage_order(runs)
    return (
        f"Stages: {listed(stages)}{'; the pooled features are the last stage’s' if echo else ''}."
    )


def stage_marks(stages: Sequence[str]) -> dict[str, str]:
    """What stands for each stage in a drawing, where no word from data may: its number."""
    return {stage: POOLED if stage == POOLED else str(i) for i, stage in enumerate(stages, 1)}


def values_by_arm_and_stage(
    at: Mapping[str, Sequence[RunT]], known: Callable[[RunT], Mapping[str, Value]]
) -> dict[tuple[str, str], list[Value]]:
    """(arm, stage) -> what each seed knows of it; nothing where no seed does.

    Args:
        at: The runs of each arm.
        known: What a run knows of each stage.
    """
    by_cell: dict[tuple[str, str], list[Value]] = {}
    for arm, runs in at.items():
        for run in runs:
            for stage, one in known(run).items():
                by_cell.setdefault((arm, stage), []).append(one)
    return by_cell
