"""What could overturn the answer, a line each, for the first screen of the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medstrata.report.compare.comparison import Comparison, group_by_task, ranked
from medstrata.report.compare.run_grid import ONE_DRAW, run_grid
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import (
    counted,
    interval_text,
    listed,
    percent,
    score_text,
    sentence,
)
from medstrata.report.sections.audits import CUES
from medstrata.report.sections.curves import chosen_records, read

# Below these a percentile interval over patients is rough: it is known to be too narrow.
_FEW_PATIENTS, _FEW_OF_A_CLASS = 50, 20


@dataclass(frozen=True)
class Caution:
    """A reason for care, and the section that has the whole of it."""

    text: str
    anchor: str


def cautions(comparisons: Sequence[Comparison[Finetune]]) -> list[Caution]:
    """Those of every task; of several, each names the store."""
    places = group_by_task(comparisons)
    found: dict[Caution, None] = {}
    for same in places:
        where = f"{same[0].store.name}: " if len(places) > 1 else ""
        for comparison in same:
            for text, anchor in (
                *_of_the_data(comparison),
                *_of_test_patients(comparison),
                *_of_seeds(comparison),
                *_of_training(comparison),
            ):
                found[Caution(where + text if where else sentence(text), anchor)] = None
    return list(found)


def _of_the_data(comparison: Comparison[Finetune]) -> Iterator[tuple[str, str]]:
    """What its audit found, and whether patients are known."""
    audit = next((run.files.audit for run in comparison.every if run.files.audit), None)
    if unknown := comparison.store.unknown_patients:
        yield f"the patients of {counted(unknown, 'image')} are unknown: leakage is too", "data"
    if audit is None:
        yield "no data audit: shortcuts, and copies across splits, are not known", "missing"
        return
    try:
        leakage = audit["leakage"]
        leaks = [
            f"{counted(leakage[key], noun)}{what}"
            for key, noun, what in (("patients", "patient", ""), ("pairs", "pair", " of copies"))
            if leakage[key]
        ]
        if leaks:
            yield f"leakage: {listed(leaks)} in two splits", "audit"
        for one in audit["shortcuts"]:
            if said := _shortcut(comparison, one):
                yield said, "audit"
    except (KeyError, TypeError, ValueError):  # which the section on it says
        return


def _shortcut(comparison: Comparison[Finetune], one: Mapping[str, Any]) -> str:
    """What a cue by itself scores, where it is strong or reaches the best arm; else nothing."""
    auroc, task = one["auroc"], comparison.task
    if auroc is None or one["label"] not in (task.name.partition(":")[0], *task.classes):
        return ""
    interval = float(auroc["low"]), float(auroc["high"])
    as_good = ""
    for fraction, column in comparison.columns("macro_auroc").items():
        best = ranked(column, "macro_auroc")[0]
        if column[best].value <= interval[1]:
            as_good = (
                f", as good as the best arm with {percent(fraction)} of the labels "
                f"({best} {score_text(column[best].value)})"
            )
    if not as_good and one["verdict"] != "strong shortcut":
        return ""
    cue = CUES.get(str(one["cue"]), str(one["cue"])).lower()
    return (
        f"the {cue} alone predicts {one['label']}: AUROC {score_text(float(auroc['value']))} "
        f"({interval_text(interval)}){as_good}"
    )


def _of_test_patients(comparison: Comparison[Finetune]) -> Iterator[tuple[str, str]]:
    """Whether they are many enough, all together and of each class."""
    test, predictions = comparison.first.test, comparison.predictions
    if 0 < test.patients < _FEW_PATIENTS and not test.unknown_patients:
        yield f"only {counted(test.patients, 'test patient')}: intervals are rough", "data"
    target = predictions.target
    if not len(target):
        return
    classes = comparison.task.classes
    of_class = {
        name: target[:, i] == 1 if target.ndim == 2 else target == i
        for i, name in enumerate(classes)
    }
    patients = {
        name: len(np.unique(predictions.patient_ids[rows])) for name, rows in of_class.items()
    }
    few = [f"{name} ({number})" for name, number in patients.items() if number < _FEW_OF_A_CLASS]
    if few:
        yield f"few test patients of {listed(few)}: intervals are rough", "data"


def _of_seeds(comparison: Comparison[Finetune]) -> Iterator[tuple[str, str]]:
    """What there is too little of for a verdict with the fewest labels."""
    arms: dict[str, list[str]] = {}
    compared = comparison.at(comparison.fractions[0])
    for arm, runs in compared.items() if len(compared) > 1 else ():
        grid = run_grid(runs)
        if grid is not None and grid.lacking:
            arms.setdefault(grid.lacking, []).append(arm)
    if arms:
        named = listed(
            [
                lacking if lacking == ONE_DRAW else f"{lacking} of {listed(of)}"
                for lacking, of in arms.items()
            ]
        )
        yield f"{named}: others may come out otherwise, so no verdict", "differences"


def _of_training(comparison: Comparison[Finetune]) -> Iterator[tuple[str, str]]:
    """The arms that validated best at the end of their training, in more than half of their runs.

    A head on a frozen encoder is solved for, so it has no such end.
    """
    if not comparison.protocol.startswith("full"):
        return
    late = {}
    for arm in comparison.arms:
        runs = [run for of in comparison.of(arm).values() for run in of]
        ended = [_best_is_last(run) for run in runs]
        if 2 * sum(ended) > len(ended):
            late[arm] = f"{arm} ({sum(ended)} of {len(ended)} runs)"
    if late:
        yield f"validation is best at the last epoch of {listed([*late.values()])}", "results"


def _best_is_last(run: Finetune) -> bool:
    numbers = [read(record, "validation") for record in chosen_records(run)]
    return run.best_validation is not None and numbers[-1:] == [run.best_validation]
