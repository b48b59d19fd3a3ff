"""Finished runs -> comparisons of arms, in which only like meets like."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Generic, TypeVar

from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.read.facts import EvaluationRun, ReportNote, Score, StoreFacts, TaskFacts
from medstrata.report.read.predictions import Predictions, read_predictions
from medstrata.report.read.results import TUNED, Finetune, Probe
from medstrata.report.render.formatting import protocol_clause, protocol_name, score_text, slug
from medstrata.report.render.run_summary import Summary
from medstrata.report.render.tables import unique_names

RunT = TypeVar("RunT", bound=EvaluationRun)

_BASELINES = ("scratch", "imagenet")
_PROTOCOLS = ("full", "frozen")


@dataclass(frozen=True, kw_only=True)
class Comparison(Generic[RunT]):
    """Runs of one kind on one task of one store under one protocol: all arms judged alike.

    Attributes:
        place: The same for every protocol of one task on one store; part of the names of files.
        name: Of this comparison in the names of files.
        protocol: Empty for kinds of runs that have none.
        metrics: What the runs of every protocol were judged by, then their other metrics.
        runs: (arm, fraction) -> its runs, one for each seed and draw of the labels.
        read_outs: Predictions of each classifier of the runs, by the names of
            `EvaluationRun.read_outs`.
    """

    place: str
    name: str
    protocol: str
    metrics: tuple[str, ...]
    runs: Mapping[tuple[str, float], tuple[RunT, ...]]
    read_outs: Mapping[str, Predictions]

    @property
    def every(self) -> tuple[RunT, ...]:
        """All runs, arm by arm."""
        return tuple(run for arm in self.arms for runs in self.of(arm).values() for run in runs)

    @property
    def first(self) -> RunT:
        """A run, for what all have in common."""
        return next(iter(self.runs.values()))[0]

    @property
    def store(self) -> StoreFacts:
        """What the runs were made on."""
        return self.first.store

    @property
    def task(self) -> TaskFacts:
        """What was predicted."""
        return self.first.task

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Baselines first, then by name."""
        return arm_order(arm for arm, _ in self.runs)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """From few labels to all."""
        return tuple(sorted({fraction for _, fraction in self.runs}))

    @property
    def metric(self) -> str:
        """The metric the task is judged by."""
        return self.metrics[0]

    @property
    def predictions(self) -> Predictions:
        """Of fine-tuned classifiers, of the runs of every protocol."""
        return self.read_outs[TUNED]

    @property
    def where(self) -> str:
        """Task and store in words."""
        return f"{self.task.name} on {self.store.name}"

    @property
    def clause(self) -> str:
        """Task, store and protocol within a sentence."""
        return f"{self.where}, {protocol_clause(self.protocol)}" if self.protocol else self.where

    @property
    def heading(self) -> str:
        """The same as a heading."""
        return f"{protocol_name(self.protocol)}: {self.where}" if self.protocol else self.where

    def at(self, fraction: float) -> dict[str, tuple[RunT, ...]]:
        """The runs of each arm that has some at a fraction."""
        cells = {arm: self.runs.get((arm, fraction), ()) for arm in self.arms}
        return {arm: runs for arm, runs in cells.items() if runs}

    def of(self, arm: str) -> dict[float, tuple[RunT, ...]]:
        """The runs of an arm at each fraction where it has some."""
        cells = {fraction: self.runs.get((arm, fraction), ()) for fraction in self.fractions}
        return {fraction: runs for fraction, runs in cells.items() if runs}

    def predicted(self, arm: str, fraction: float) -> list[RunT]:
        """The runs of an arm at a fraction that have predictions."""
        return self.predictions.covered(self.runs.get((arm, fraction), ()))

    def column(self, fraction: float, metric: str, read_out: str = TUNED) -> dict[str, Summary]:
        """What each arm scores at a fraction; arms without that score are left out."""
        summaries = {
            arm: self.summarise(runs, metric, read_out) for arm, runs in self.at(fraction).items()
        }
        return {arm: summary for arm, summary in summaries.items() if summary is not None}

    def columns(self, metric: str) -> dict[float, dict[str, Summary]]:
        """The same of every fraction where some arm has that score."""
        by_fraction = {fraction: self.column(fraction, metric) for fraction in self.fractions}
        return {fraction: column for fraction, column in by_fraction.items() if column}

    def summarise(
        self, runs: Sequence[EvaluationRun], metric: str, read_out: str = TUNED
    ) -> Summary | None:
        """Bring the runs of one cell together; None where no run has the score."""
        scores = {
            run.files.name: score
            for run in runs
            if (score := run.score(metric, read_out)) is not None
        }
        scored = [run for run in runs if run.files.name in scores]
        predictions = self.read_outs.get(read_out)
        of_mean = predictions.interval(metric, scored) if predictions else None
        return summary_of(list(scores.values()), metric, of_mean)


def summary_of(
    scores: Sequence[Score], metric: str, of_mean: tuple[float, float] | None = None
) -> Summary | None:
    """Bring the scores of several runs together; None where there is none.

    Args:
        scores: One a run.
        metric: Tells which of them is the worse.
        of_mean: The interval of their mean, where it is known.
    """
    if not scores:
        return None
    # From worst to best, so that an even number of runs takes the worse of the middle two.
    sign = -1 if metric in LOWER_IS_BETTER else 1
    ordered = sorted(scores, key=lambda score: sign * score.value)
    values = sorted(score.value for score in scores)
    return Summary(
        value=sum(values) / len(values),
        runs=tuple(values),
        interval=of_mean or ordered[(len(ordered) - 1) // 2].interval,
        of_mean=of_mean is not None,
    )


def arm_order(arms: Iterable[str]) -> tuple[str, ...]:
    """Each arm once, baselines first, then by name."""

    def place(arm: str) -> tuple[int, str]:
        word = arm.split(" ")[0]
        return (_BASELINES.index(word) if word in _BASELINES else len(_BASELINES), arm)

    return tuple(sorted(set(arms), key=place))


def ranked(column: Mapping[str, Summary], metric: str) -> list[str]:
    """Arms from best to worst."""
    better = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(column, key=lambda arm: better * column[arm].value)


def best_arms(column: Mapping[str, Summary], metric: str) -> set[str]:
    """The arms with the best mean; several only when they are equal as printed."""
    if len(column) < 2:
        return set()
    top = score_text(column[ranked(column, metric)[0]].value)
    return {arm for arm, summary in column.items() if score_text(summary.value) == top}


def comparisons(runs: Sequence[RunT]) -> tuple[tuple[Comparison[RunT], ...], list[ReportNote]]:
    """Group runs of one kind so that only what can be compared stands together.

    Returns:
        The comparisons, those of the place with the most runs first; and a note for each run that
        is the same cell as an earlier one and was left out.
    """
    kept: dict[tuple[object, ...], RunT] = {}
    notes = []
    for run in runs:
        cell = (*_alike(run), run.arm, run.backbone, run.protocol, run.fraction, *run.cell)
        earlier = kept.setdefault(cell, run)
        if earlier is not run:
            why = (
                f"the same arm, task, protocol, fraction, seed and labels as {earlier.files.name}: "
                "left out; give its arm another name or another seed to see both"
            )
            notes.append(ReportNote(what=run.files.name, why=why))
    groups = [list(group) for _, group in groupby(sorted(kept.values(), key=_alike), key=_alike)]
    # What was studied most comes first; the headline is about it.
    groups.sort(key=lambda group: -len(group))
    places = unique_names(slug(group[0].task.name, group[0].store.name) for group in groups)
    compared = [
        one for runs, place in zip(groups, places, strict=True) for one in _by_protocol(runs, place)
    ]
    return tuple(compared), notes


def group_by_task(compared: Iterable[Comparison[RunT]]) -> list[list[Comparison[RunT]]]:
    """The comparisons of each task on each store: one for each protocol."""
    return [list(same) for _, same in groupby(compared, key=lambda one: one.place)]


def _alike(run: EvaluationRun) -> tuple[str, ...]:
    """What only runs that can be compared have in common."""
    store, task = run.store, run.task
    facts = (store.name, task.name, task.kind, task.classes, store.size, store.images)
    return tuple(map(str, (*facts, run.store_digest, *run.tested)))


def _by_protocol(runs: Sequence[RunT], place: str) -> list[Comparison[RunT]]:
    """A comparison for each protocol."""
    main_metrics = {run.metric for run in runs if isinstance(run, Finetune | Probe)}
    other_metrics = {
        metric for run in runs if isinstance(run, Finetune) for metric in run.test.scores
    }
    protocols = {run.protocol for run in runs}
    known = [protocol for protocol in _PROTOCOLS if protocol in protocols]
    ordered = [*known, *sorted(protocols - set(known))]
    names = unique_names(f"{place}-{slug(one)}" if one else place for one in ordered)
    read_outs = read_predictions(runs)
    compared = []
    for protocol, name in zip(ordered, names, strict=True):
        cells: dict[tuple[str, float], tuple[RunT, ...]] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            if run.protocol == protocol:
                cell = (run.label, run.fraction)
                cells[cell] = (*cells.get(cell, ()), run)
        compared.append(
            Comparison(
                place=place,
                name=name,
                protocol=protocol,
                metrics=(*sorted(main_metrics), *sorted(other_metrics - main_metrics)),
                runs=cells,
                read_outs=read_outs,
            )
        )
    return compared
