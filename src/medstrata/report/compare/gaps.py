"""What is missing from a set of runs, or makes its comparisons less than fair."""

from collections.abc import Iterator, Mapping, Sequence

from medstrata.report.compare.compare import Bench, Comparison, given_labels
from medstrata.report.read.facts import Note
from medstrata.report.read.runs import Collection, Finetune
from medstrata.report.render.formatting import listed, metric_name, percent, protocol_clause


def gaps(
    collection: Collection, found: Sequence[Bench], labels: Mapping[tuple[str, str], str]
) -> list[Note]:
    """Every gap a reader should know of, in words.

    Args:
        collection: What was read.
        found: The comparisons made of it.
        labels: (arm, backbone) -> the name under which it is shown.
    """
    everywhere = {arm for bench in found for arm in bench.arms}
    notes = []
    for run in collection.pretrain:
        if labels[run.arm, run.backbone] not in everywhere:
            why = "pre-trained, but no fine-tuning run of this arm was given: it has no score"
            notes.append(Note(what=run.files.name, why=why))
    for bench in found:
        where = bench.where
        absent = [arm for arm in sorted(everywhere) if arm not in bench.arms]
        if absent:
            why = "scored on another task or store only: not comparable here"
            notes.append(Note(what=f"{where}: {listed(absent)}", why=why))
        if len({run.metric for one in bench.comparisons for run in _runs(one)}) > 1:
            why = f"runs name different main metrics; {metric_name(bench.metric)} is shown first"
            notes.append(Note(what=where, why=why))
        for comparison in bench.comparisons:
            notes.extend(_holes(bench, comparison, where))
            notes.extend(_unlike_subsets(comparison, where))
    return notes


def _runs(comparison: Comparison) -> list[Finetune]:
    return [run for runs in comparison.runs.values() for run in runs]


def _holes(bench: Bench, comparison: Comparison, where: str) -> Iterator[Note]:
    clause = protocol_clause(comparison.protocol)
    seeds = {run.seed for run in _runs(comparison)}
    for arm in bench.arms:
        what = f"{where}, {clause}: {arm}"
        if arm not in comparison.arms:
            yield Note(what=what, why="no run with this protocol was given")
            continue
        cells = {one: comparison.runs.get((arm, one), ()) for one in comparison.fractions}
        empty = [percent(one) for one, runs in cells.items() if not runs]
        if empty:
            yield Note(what=what, why=f"no finished run at {listed(empty)} of the labels")
        for fraction, runs in cells.items():
            lost = sorted(seeds - {run.seed for run in runs})
            if runs and lost:
                named = f"seed{'' if len(lost) == 1 else 's'} {listed([str(one) for one in lost])}"
                why = f"no finished run of {named} at {percent(fraction)}; the mean is of the rest"
                yield Note(what=what, why=why)
            unscored = [run.files.name for run in runs if bench.metric not in run.scores]
            if unscored:
                why = f"no {metric_name(bench.metric)} at {percent(fraction)}: {listed(unscored)}"
                yield Note(what=what, why=why)


def _unlike_subsets(comparison: Comparison, where: str) -> Iterator[Note]:
    """Arms of one fraction and seed must have been given the same labelled images."""
    given: dict[tuple[float, int], set[object]] = {}
    for run in _runs(comparison):
        given.setdefault((run.fraction, run.seed), set()).add(given_labels(run))
    for (fraction, seed), subsets in sorted(given.items()):
        if len(subsets) > 1:
            clause = protocol_clause(comparison.protocol)
            yield Note(
                what=f"{where}, {clause}: {percent(fraction)}, seed {seed}",
                why="arms were given different labelled images: their difference is not the "
                "encoder's alone",
            )
