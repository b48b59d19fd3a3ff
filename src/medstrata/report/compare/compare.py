"""Finished runs -> comparisons of arms over label fractions, in which only like meets like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import stdev

from medstrata.metrics.intervals import LOWER_IS_BETTER
from medstrata.report.read.facts import Note, Score, StoreFacts, TaskFacts
from medstrata.report.read.predictions import Predictions, read_predictions
from medstrata.report.read.runs import Finetune
from medstrata.report.render.formatting import protocol_clause, protocol_name, score_text

_BASELINES = ("scratch", "imagenet")
_PROTOCOLS = ("full", "frozen")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The runs of one arm at one fraction, over seeds.

    Attributes:
        value: Mean over seeds.
        seeds: Score of each seed, ascending.
        interval: 95 % interval over patients, None when there is none.
        of_mean: Whether the interval is that of the mean over seeds, computed from predictions.
            Else it is the one recorded for the run with the median score (the worse of the middle
            two when the number of seeds is even).
    """

    value: float
    seeds: tuple[float, ...]
    interval: tuple[float, float] | None
    of_mean: bool = False

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds, None of one seed."""
        return stdev(self.seeds) if len(self.seeds) > 1 else None

    @property
    def reach(self) -> tuple[float, float]:
        """From the lowest to the highest of the interval's ends and the seeds' scores."""
        ends = (*self.seeds, *(self.interval or ()))
        return min(ends), max(ends)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms under one protocol: `runs` maps (arm, fraction) to one run per seed."""

    protocol: str
    arms: tuple[str, ...]
    fractions: tuple[float, ...]
    runs: Mapping[tuple[str, float], tuple[Finetune, ...]]
    predictions: Predictions

    def column(self, fraction: float, metric: str) -> dict[str, Summary]:
        """What each arm scores at a fraction; arms without that score are left out."""
        found = {
            arm: summarise(self.runs.get((arm, fraction), ()), metric, self.predictions)
            for arm in self.arms
        }
        return {arm: summary for arm, summary in found.items() if summary is not None}

    def identity(self, arm: str) -> tuple[str, str]:
        """What the arm began with, as `Finetune.start`, and its backbone."""
        run = next(runs[0] for (name, _), runs in self.runs.items() if name == arm)
        return run.start, run.backbone

    def predicted(self, arm: str, fraction: float) -> list[Finetune]:
        """The runs of an arm at a fraction that have predictions."""
        return self.predictions.covered(self.runs.get((arm, fraction), ()))

    def at(self, fraction: float) -> tuple[Finetune, ...]:
        """Every run at a fraction."""
        return tuple(run for arm in self.arms for run in self.runs.get((arm, fraction), ()))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One task on one store: everything in it is scored on the same test images."""

    store: StoreFacts
    task: TaskFacts
    metrics: tuple[str, ...]
    test_images: int
    test_patients: int
    comparisons: tuple[Comparison, ...]

    @property
    def metric(self) -> str:
        """The metric the task is judged by."""
        return self.metrics[0]

    @property
    def where(self) -> str:
        """Task and store in words."""
        return f"{self.task.name} on {self.store.name}"

    def under(self, comparison: Comparison) -> str:
        """Task, store and protocol within a sentence."""
        return f"{self.where}, {protocol_clause(comparison.protocol)}"

    def heading(self, comparison: Comparison) -> str:
        """The same as a heading."""
        return f"{protocol_name(comparison.protocol)}: {self.where}"

    @property
    def predictions(self) -> Predictions:
        """Of the runs of every protocol."""
        return self.comparisons[0].predictions

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms of any protocol."""
        return arm_order({arm for comparison in self.comparisons for arm in comparison.arms})


def arm_order(arms: set[str]) -> tuple[str, ...]:
    """Baselines first, then by name."""

    def place(arm: str) -> tuple[int, str]:
        word = arm.split(" ")[0]
        return (_BASELINES.index(word) if word in _BASELINES else len(_BASELINES), arm)

    return tuple(sorted(arms, key=place))


def summarise(
    runs: Sequence[Finetune], metric: str, predictions: Predictions | None = None
) -> Summary | None:
    """Bring the seeds of one cell together; None where no run has the score."""
    scored = [run for run in runs if metric in run.scores]
    computed = predictions.interval(metric, scored) if predictions else None
    return summary([run.scores[metric] for run in scored], metric, computed)


def summary(
    scores: Sequence[Score], metric: str, of_mean: tuple[float, float] | None = None
) -> Summary | None:
    """Bring the scores of several seeds together; None where there is none.

    Args:
        scores: One a seed.
        metric: Tells which of them is the worse.
        of_mean: The interval of their mean, where it is known.
    """
    if not scores:
        return None
    # From worst to best, so that an even number of seeds takes the worse of the middle two.
    sign = -1 if metric in LOWER_IS_BETTER else 1
    ordered = sorted(scores, key=lambda score: sign * score.value)
    values = sorted(score.value for score in scores)
    return Summary(
        value=sum(values) / len(values),
        seeds=tuple(values),
        interval=of_mean or ordered[(len(ordered) - 1) // 2].interval,
        of_mean=of_mean is not None,
    )


def given_labels(run: Finetune) -> object:
    """Which images were labelled; equal for runs that were given the same."""
    # A run without its list of images still tells how many there were.
    facts = (run.subset_images, run.subset_patients, *sorted(run.per_class.items()))
    return run.labelled_ids or facts


def ranked(column: Mapping[str, Summary], metric: str) -> list[str]:
    """Arms from best to worst."""
    better = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(column, key=lambda arm: better * column[arm].value)


def best(column: Mapping[str, Summary], metric: str) -> set[str]:
    """The arms with the best mean; several only when they are equal as printed."""
    if len(column) < 2:
        return set()
    top = score_text(column[ranked(column, metric)[0]].value)
    return {arm for arm, summary in column.items() if score_text(summary.value) == top}


def benches(runs: Sequence[Finetune], labels: Mapping[tuple[str, str], str]) -> tuple[Bench, ...]:
    """Group runs so that only what can be compared stands together.

    Args:
        runs: Finished runs, without duplicates.
        labels: (arm, backbone) -> the name under which it is shown.
    """

    def key(run: Finetune) -> tuple[str, ...]:
        store, task = run.store, run.task
        facts = (store.name, task.name, task.kind, task.classes, store.size, store.images)
        return tuple(map(str, (*facts, store.digest, run.test_images, run.test_patients)))

    groups = [list(group) for _, group in groupby(sorted(runs, key=key), key=key)]
    # What was studied most comes first; the headline is about it.
    groups.sort(key=lambda group: -len(group))
    return tuple(_bench(group, labels) for group in groups)


def _bench(runs: list[Finetune], labels: Mapping[tuple[str, str], str]) -> Bench:
    first = runs[0]
    main = sorted({run.metric for run in runs})
    others = sorted({metric for run in runs for metric in run.scores} - set(main))
    protocols = {run.protocol for run in runs}
    known = [protocol for protocol in _PROTOCOLS if protocol in protocols]
    predictions = read_predictions(runs)
    return Bench(
        store=first.store,
        task=first.task,
        metrics=(*main, *others),
        test_images=first.test_images,
        test_patients=first.test_patients,
        comparisons=tuple(
            _comparison(
                [run for run in runs if run.protocol == protocol], labels, protocol, predictions
            )
            for protocol in (*known, *sorted(protocols - set(known)))
        ),
    )


def _comparison(
    runs: list[Finetune],
    labels: Mapping[tuple[str, str], str],
    protocol: str,
    predictions: Predictions,
) -> Comparison:
    cells: dict[tuple[str, float], tuple[Finetune, ...]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        cell = (labels[run.arm, run.backbone], run.fraction)
        cells[cell] = (*cells.get(cell, ()), run)
    return Comparison(
        protocol=protocol,
        arms=arm_order({arm for arm, _ in cells}),
        fractions=tuple(sorted({fraction for _, fraction in cells})),
        runs=cells,
        predictions=predictions,
    )


def without_duplicates(runs: Sequence[Finetune]) -> tuple[tuple[Finetune, ...], list[Note]]:
    """Keep the first of several runs that fill the same cell, and name the others."""
    kept: dict[tuple[object, ...], Finetune] = {}
    notes = []
    for run in runs:
        store = (run.store.name, run.store.size, run.store.images, run.store.digest)
        tested = (run.task, run.test_images, run.test_patients)
        cell = (store, tested, run.arm, run.backbone, run.protocol, run.fraction, run.seed)
        earlier = kept.setdefault(cell, run)
        if earlier is not run:
            why = (
                f"the same arm, task, protocol, fraction and seed as {earlier.files.name}: left "
                "out; give its arm another name or another seed to see both"
            )
            notes.append(Note(what=run.files.name, why=why))
    return tuple(kept.values()), notes
