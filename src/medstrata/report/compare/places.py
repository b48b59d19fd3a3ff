"""Which runs that look into layers stand together, and how their stages are named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from medstrata.report.compare.compare import arm_order
from medstrata.report.read.facts import Note, StoreFacts, TaskFacts
from medstrata.report.read.layer_runs import Atlas, Probe, Reuse
from medstrata.report.render.formatting import listed

LayerRun = TypeVar("LayerRun", bound=Probe | Reuse | Atlas)
Labels = Mapping[tuple[str, str], str]

# What a classifier would read; it stands after the stages.
POOLED = "pooled"


@dataclass(frozen=True, kw_only=True)
class Place(Generic[LayerRun]):
    """Runs of one kind on one task of one store; `runs` maps each arm to its runs."""

    store: StoreFacts
    task: TaskFacts
    runs: Mapping[str, tuple[LayerRun, ...]]

    @property
    def where(self) -> str:
        """Task and store in words."""
        return f"{self.task.name} on {self.store.name}"

    @property
    def every(self) -> tuple[LayerRun, ...]:
        """The runs of all arms."""
        return tuple(run for runs in self.runs.values() for run in runs)


def places(runs: Sequence[LayerRun], labels: Labels) -> tuple[list[Place[LayerRun]], list[Note]]:
    """Group runs so that only what can be compared stands together.

    Args:
        runs: Finished runs of one kind.
        labels: (arm, backbone) -> the name under which it is shown.

    Returns:
        The places, that with the most runs first, and a note for each run that is the same cell
        as an earlier one and was left out.
    """
    kept: dict[tuple[object, ...], LayerRun] = {}
    notes = []
    for run in runs:
        fraction = 1.0 if isinstance(run, Atlas) else run.fraction
        cell = (*_facts(run), run.arm, run.backbone, fraction, run.seed)
        earlier = kept.setdefault(cell, run)
        if earlier is not run:
            why = f"looks into the same encoder as {earlier.files.name}: left out"
            notes.append(Note(what=run.files.name, why=why))
    groups: dict[tuple[object, ...], list[LayerRun]] = {}
    for run in sorted(kept.values(), key=lambda run: (run.store.name, run.task.name, run.seed)):
        groups.setdefault(_facts(run), []).append(run)
    found = [_place(group, labels) for group in groups.values()]
    return sorted(found, key=lambda place: -len(place.every)), notes


def _facts(run: LayerRun) -> tuple[object, ...]:
    store = run.store
    scored = (run.metric, run.test_images, run.test_patients) if isinstance(run, Probe) else ()
    return store.name, store.size, store.images, store.digest, run.task, *scored


def _place(runs: Sequence[LayerRun], labels: Labels) -> Place[LayerRun]:
    by_arm: dict[str, tuple[LayerRun, ...]] = {}
    for run in runs:
        arm = labels[run.arm, run.backbone]
        by_arm[arm] = (*by_arm.get(arm, ()), run)
    first = runs[0]
    order = arm_order(set(by_arm))
    return Place(store=first.store, task=first.task, runs={arm: by_arm[arm] for arm in order})


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


def stage_marks(stages: Sequence[str]) -> tuple[str, ...]:
    """What stands for each stage in a drawing, where no word from data may: its number."""
    return tuple(POOLED if stage == POOLED else str(i + 1) for i, stage in enumerate(stages))


def share(fraction: float) -> str:
    """A share of the labels in the name of a file: 0.01 -> 1-percent."""
    return f"{100 * fraction:g}-percent".replace(".", "-")
