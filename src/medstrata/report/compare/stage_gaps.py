"""What is missing from the runs that look into layers, in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from medstrata.report.compare.compare import Bench
from medstrata.report.compare.places import LayerRun, Place, stage_order
from medstrata.report.read.facts import Note
from medstrata.report.read.layer_runs import READ_OUTS, Atlas, Probe, Reuse
from medstrata.report.render.formatting import listed, percent

# (task, store) -> arms that any run there is about, in order.
Expected = dict[tuple[str, str], dict[str, None]]


def layer_gaps(
    probes: Sequence[Place[Probe]],
    reuses: Sequence[Place[Reuse]],
    atlases: Sequence[Place[Atlas]],
    benches: Sequence[Bench],
) -> list[Note]:
    """Arms, fractions, seeds and stages without a probe, a comparison of features, or an atlas.

    Args:
        probes: Probe runs by task and store.
        reuses: Reuse runs by task and store.
        atlases: Atlas runs by task and store.
        benches: Fine-tuning runs by task and store. Every kind is held against the arms of all.
    """
    expected: Expected = {}
    for bench in benches:
        expected.setdefault((bench.task.name, bench.store.name), {}).update(
            dict.fromkeys(bench.arms)
        )
    everywhere: list[Place[Probe] | Place[Reuse] | Place[Atlas]] = [*probes, *reuses, *atlases]
    for place in everywhere:
        expected.setdefault((place.task.name, place.store.name), {}).update(
            dict.fromkeys(place.runs)
        )
    return [
        *_gaps("layer-wise probing", probes, expected),
        *_gaps("feature reuse", reuses, expected),
        *_gaps("atlas", atlases, expected),
        *(note for place in probes for note in _silent_stages(place)),
        *(note for place in reuses for note in _bare_stages(place)),
        *(note for place in atlases for note in _flat_stages(place)),
    ]


def _gaps(kind: str, found: Sequence[Place[LayerRun]], expected: Expected) -> Iterator[Note]:
    if expected and not found:
        yield Note(what=kind, why="no such run was given: this report says nothing about it")
        return
    known = {(place.task.name, place.store.name) for place in found}
    for task, store in sorted(expected.keys() - known):
        yield Note(what=f"{kind}, {task} on {store}", why="no such run was given")
    for place in found:
        arms = expected[place.task.name, place.store.name]
        absent = [arm for arm in arms if arm not in place.runs]
        if absent:
            yield Note(what=f"{kind}, {place.where}: {listed(absent)}", why="no finished run")
        yield from _holes(kind, place)


def _holes(kind: str, place: Place[LayerRun]) -> Iterator[Note]:
    """Cells of fraction and seed that one arm lacks and another has."""
    cells = {arm: {_cell(run) for run in runs} for arm, runs in place.runs.items()}
    every = set().union(*cells.values())
    for arm, have in cells.items():
        lost: dict[float | None, list[str]] = {}
        for fraction, seed in sorted(every - have, key=lambda cell: (cell[0] or 0, cell[1])):
            lost.setdefault(fraction, []).append(str(seed))
        for fraction, seeds in lost.items():
            at = "" if fraction is None else f" at {percent(fraction)} of the labels"
            named = f"seed{'' if len(seeds) == 1 else 's'} {listed(seeds)}"
            yield Note(what=f"{kind}, {place.where}: {arm}", why=f"no run of {named}{at}")


def _cell(run: Probe | Reuse | Atlas) -> tuple[float | None, int]:
    return (None if isinstance(run, Atlas) else run.fraction), run.seed


def _silent_stages(place: Place[Probe]) -> Iterator[Note]:
    stages = stage_order(run.stages for run in place.every)
    for run in place.every:
        for read_out, title in READ_OUTS.items():
            have = [stage for stage, scores in run.stages.items() if read_out in scores]
            yield from _lacking(run.files.name, stages, have, f"no score ({title.lower()})")


def _bare_stages(place: Place[Reuse]) -> Iterator[Note]:
    stages = stage_order(run.stages for run in place.every)
    for run in place.every:
        measured: Mapping[str, object] = run.cka.get("linear_debiased", {})
        yield from _lacking(run.files.name, stages, measured, "no CKA")
        if run.heatmaps is None:
            yield Note(what=run.files.name, why="no heat map of stage by stage was recorded")


def _flat_stages(place: Place[Atlas]) -> Iterator[Note]:
    stages = stage_order(run.spectrum for run in place.every)
    for run in place.every:
        yield from _lacking(run.files.name, stages, run.spectrum, "no spectrum")


def _lacking(run: str, stages: Sequence[str], have: Iterable[str], what: str) -> Iterator[Note]:
    lost = [stage for stage in stages if stage not in set(have)]
    if lost:
        yield Note(what=run, why=f"{what} at {listed(lost)}")
