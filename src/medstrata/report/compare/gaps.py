"""What is missing from a set of runs, or makes its comparisons less than fair, in words."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from medstrata.report.compare.comparison import Comparison, RunT, group_by_task
from medstrata.report.compare.differences import BASELINES, ContrastFamily, is_baseline
from medstrata.report.compare.stages import stage_order
from medstrata.report.read.facts import EvaluationRun, ReportNote
from medstrata.report.read.results import READ_OUTS, Atlas, Finetune, Pretrain, Probe, Reuse
from medstrata.report.render.formatting import counted, listed, metric_name, percent

# (task, store) -> arms that any run there is about, in order.
Expected = dict[tuple[str, str], dict[str, None]]
_NAMED = 5  # cells that are named; of more their number is given


def score_gaps(
    pretrain: Sequence[Pretrain], comparisons: Sequence[Comparison[Finetune]]
) -> Iterator[ReportNote]:
    """What keeps scores from being compared.

    Args:
        pretrain: The pre-training runs, each of which should have been fine-tuned.
        comparisons: The comparisons of fine-tuning runs.
    """
    everywhere = {arm for comparison in comparisons for arm in comparison.arms}
    for run in pretrain:
        if run.label not in everywhere:
            why = "pre-trained, but no fine-tuning run of this arm was given: it has no score"
            yield ReportNote(what=run.files.name, why=why)
    for same in group_by_task(comparisons):
        where, metric = same[0].where, same[0].metric
        arms = {arm: None for comparison in same for arm in comparison.arms}
        absent = sorted(everywhere - arms.keys())
        if absent:
            why = "scored on another task or store only: not comparable here"
            yield ReportNote(what=f"{where}: {listed(absent)}", why=why)
        if len({run.metric for comparison in same for run in comparison.every}) > 1:
            why = f"runs name different main metrics; {metric_name(metric)} is shown first"
            yield ReportNote(what=where, why=why)
        for comparison in same:
            yield from _holes(comparison.clause, comparison, arms)
            yield from _unscored(comparison)
            yield from _unlike_subsets(comparison)


def _holes(what: str, comparison: Comparison[RunT], arms: Iterable[str]) -> Iterator[ReportNote]:
    """Arms without a run, and cells of fraction, seed and draw that one arm has and another not."""
    absent = [arm for arm in arms if arm not in comparison.arms]
    if absent:
        yield ReportNote(what=f"{what}: {listed(absent)}", why="no finished run")
    for arm in comparison.arms:
        cells = comparison.of(arm)
        empty = [percent(one) for one in comparison.fractions if one not in cells]
        if empty:
            why = f"no finished run at {listed(empty)} of the labels"
            yield ReportNote(what=f"{what}: {arm}", why=why)
    for fraction in comparison.fractions:
        cells_there = comparison.at(fraction)
        wanted = {_numbers(run) for runs in cells_there.values() for run in runs}
        for arm, runs in cells_there.items():
            lost = wanted - {_numbers(run) for run in runs}
            if isinstance(first := runs[0], Finetune) and first.is_fixed:
                lost = {one for one in lost if one[0] == first.seed}
            if lost:
                # An atlas uses no labels.
                at = "" if isinstance(first, Atlas) else f" at {percent(fraction)} of the labels"
                why = f"no finished run of {_cells_named(lost)}{at}; the mean is of the rest"
                yield ReportNote(what=f"{what}: {arm}", why=why)


def _numbers(run: EvaluationRun) -> tuple[int, int | None]:
    """Seed and, where it is not the seed's own, draw of the labels."""
    draw = run.subset_seed if isinstance(run, Finetune) else None
    return run.seed, None if draw == run.seed else draw


def _cells_named(cells: Collection[tuple[int, int | None]]) -> str:
    """Seeds and draws, in words."""
    if any(draw is not None for _, draw in cells):
        named = [f"seed {seed} on draw {seed if draw is None else draw}" for seed, draw in cells]
        return listed(sorted(named)) if len(named) <= _NAMED else counted(len(named), "cell")
    return f"seed{'' if len(cells) == 1 else 's'} {listed(sorted(str(seed) for seed, _ in cells))}"


def _unscored(comparison: Comparison[Finetune]) -> Iterator[ReportNote]:
    metric = comparison.metric
    for (arm, fraction), runs in comparison.runs.items():
        names = [run.files.name for run in runs if metric not in run.test.scores]
        if names:
            why = f"no {metric_name(metric)} at {percent(fraction)}: {listed(names)}"
            yield ReportNote(what=f"{comparison.clause}: {arm}", why=why)


def _unlike_subsets(comparison: Comparison[Finetune]) -> Iterator[ReportNote]:
    """Arms of one fraction and draw must have been given the same labelled images."""
    labelled_images: dict[tuple[float, int], set[object]] = {}
    for run in comparison.every:
        draw = run.seed if run.subset_seed is None else run.subset_seed
        labelled_images.setdefault((run.fraction, draw), set()).add(run.labelled)
    for (fraction, draw), subsets in sorted(labelled_images.items()):
        if len(subsets) > 1:
            yield ReportNote(
                what=f"{comparison.clause}: {percent(fraction)}, draw {draw} of the labels",
                why="arms were given different labelled images: their difference is not the "
                "encoder's alone",
            )


def prediction_gaps(
    comparisons: Sequence[Comparison[Finetune]],
    paired: Mapping[str, Sequence[ContrastFamily]],
    baselines: Sequence[str] = BASELINES,
) -> Iterator[ReportNote]:
    """What rests on predictions and could not be computed.

    Args:
        comparisons: The comparisons of fine-tuning runs.
        paired: Name of a comparison -> its paired differences.
        baselines: What arms were held against.
    """
    yield from _unread_predictions(comparisons)
    for comparison in comparisons:
        for family in paired[comparison.name]:
            yield from family.notes
        yield from _lacking_references(comparison, baselines)


def _unread_predictions(comparisons: Iterable[Comparison[RunT]]) -> Iterator[ReportNote]:
    """The runs whose predictions were left out; all read-outs of a place name the same."""
    for same in group_by_task(comparisons):
        for predictions in list(same[0].read_outs.values())[:1]:
            yield from predictions.notes


def _lacking_references(
    comparison: Comparison[Finetune], baselines: Sequence[str]
) -> Iterator[ReportNote]:
    """What could not be computed for want of runs, where several arms have predictions."""
    full = {arm: comparison.predicted(arm, 1.0) for arm in comparison.arms}
    arms = [
        arm
        for arm in comparison.arms
        if any(comparison.predicted(arm, one) for one in comparison.fractions)
    ]
    if len(arms) < 2:
        return
    if not any(is_baseline(comparison, arm, name) for arm in comparison.arms for name in baselines):
        why = (
            f"no arm named {' or '.join(baselines)}: no paired difference to a baseline; "
            "`report --baseline ARM` holds the others against any arm"
        )
        yield ReportNote(what=comparison.clause, why=why)
    if comparison.fractions == (1.0,):
        return
    if not any(full.values()):
        yield ReportNote(
            what=comparison.clause,
            why="no run on all labels with predictions: neither label efficiency nor a KS "
            "distance is known",
        )
        return
    absent = [arm for arm in arms if not full[arm]]
    if absent:
        why = "no run on all labels with predictions: its KS distance is not known"
        yield ReportNote(what=f"{comparison.clause}: {listed(absent)}", why=why)
    lone = [arm for arm in arms if len(full[arm]) == 1]
    if lone:
        why = "one seed on all labels: the floor of the KS distance is not known"
        yield ReportNote(what=f"{comparison.clause}: {listed(lone)}", why=why)


def layer_gaps(
    kinds: Mapping[str, Sequence[Comparison[Any]]], tuned: Sequence[Comparison[Finetune]]
) -> Iterator[ReportNote]:
    """Arms, fractions, seeds and stages that runs looking into layers say nothing about.

    Args:
        kinds: Name of a kind of run -> its comparisons.
        tuned: Those of fine-tuning runs. Every kind is held against the arms of all.
    """
    expected: Expected = {}
    for comparison in (*tuned, *(one for comparisons in kinds.values() for one in comparisons)):
        place = (comparison.task.name, comparison.store.name)
        expected.setdefault(place, {}).update(dict.fromkeys(comparison.arms))
    for kind, comparisons in kinds.items():
        yield from _unread_predictions(comparisons)
        if expected and not comparisons:
            yield ReportNote(
                what=kind, why="no such run was given: this report says nothing about it"
            )
            continue
        places = {(comparison.task.name, comparison.store.name) for comparison in comparisons}
        for task, store in sorted(expected.keys() - places):
            yield ReportNote(what=f"{kind}, {task} on {store}", why="no such run was given")
        for comparison in comparisons:
            arms = expected[comparison.task.name, comparison.store.name]
            yield from _holes(f"{kind}, {comparison.where}", comparison, arms)
    for comparisons in kinds.values():
        for comparison in comparisons:
            yield from _silent_stages(comparison.every)


def _silent_stages(runs: Sequence[EvaluationRun]) -> Iterator[ReportNote]:
    """Stages of which a run says less than others do."""
    for run in runs:
        for what, stages, have in _known_stages(run, runs):
            lost = [stage for stage in stages if stage not in have]
            if lost:
                yield ReportNote(what=run.files.name, why=f"{what} at {listed(lost)}")
        if isinstance(run, Reuse) and run.heatmap is None:
            yield ReportNote(what=run.files.name, why="no heat map of stage by stage was recorded")


def _known_stages(
    run: EvaluationRun, runs: Sequence[EvaluationRun]
) -> Iterator[tuple[str, Sequence[str], Iterable[str]]]:
    """What may be lacking, the stages it should be known of, and those it is known of."""
    if isinstance(run, Probe):
        stages = stage_order(one.test.stages for one in runs if isinstance(one, Probe))
        for read_out, title in READ_OUTS.items():
            have = {stage for stage, scores in run.test.stages.items() if read_out in scores}
            yield f"no score ({title.lower()})", stages, have
    elif isinstance(run, Reuse):
        stages = stage_order(one.stages for one in runs if isinstance(one, Reuse))
        yield "no CKA", stages, run.cka.get("linear_debiased", {})
    elif isinstance(run, Atlas):
        stages = stage_order(one.spectrum for one in runs if isinstance(one, Atlas))
        yield "no spectrum", stages, run.spectrum
