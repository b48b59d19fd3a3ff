"""Feature reuse in numbers: readings over seeds, tables of them, and what they bear out."""

from collections.abc import Iterable, Mapping, Sequence

from medstrata.report.compare.places import POOLED, Place
from medstrata.report.read.layer_runs import Reuse, Similarity
from medstrata.report.render.formatting import interval_text, listed, percent, score_text
from medstrata.report.render.stage_figures import Point
from medstrata.report.render.tables import Cell, Table, text_cells

MEASURES = {
    "linear_debiased": "Linear CKA, debiased",
    "rbf_debiased": "RBF CKA, debiased",
    "linear": "Linear CKA, biased",
    "rbf": "RBF CKA, biased",
}
MAIN = "linear_debiased"
_LEGACY = "RBF CKA, legacy"
_WARNING = (
    " Legacy: as the paper's code computes it, with a bandwidth of 0.8 in absolute units. It "
    "moves with the scale of the features and nears 1 for unrelated ones that lie far apart: not "
    "to be relied on, and here only to be held against the paper's figures."
)

# Arm -> stage -> one reading a seed.
Readings = Mapping[str, Mapping[str, Sequence[Similarity]]]


def readings(at: Mapping[str, Sequence[Reuse]], measure: str) -> Readings:
    """What one measure reads for each arm and stage, of runs of one fraction."""
    found: dict[str, dict[str, list[Similarity]]] = {}
    for arm, runs in at.items():
        for run in runs:
            for stage, one in run.cka.get(measure, {}).items():
                found.setdefault(arm, {}).setdefault(stage, []).append(one)
    return found


def mean(values: Iterable[float]) -> float:
    """Their mean."""
    known = list(values)
    return sum(known) / len(known)


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are defined, None where none is."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def point(seeds: Sequence[Similarity]) -> Point:
    """The mean over seeds, with one standard deviation over subsets as its bar."""
    value, sd = mean(one.value for one in seeds), mean_of_known(one.subset_sd for one in seeds)
    values = tuple(sorted(one.value for one in seeds))
    bar = None if sd is None else (value - sd, value + sd)
    return Point(value=value, bar=bar, seeds=values)


def reuse_table(
    place: Place[Reuse], read: Readings, fraction: float, stages: Sequence[str], name: str
) -> Table:
    """The main measure: an arm a row, a stage a column."""
    rows = [
        (Cell(text=arm, arm=arm), *(_cell(of.get(stage, ())) for stage in stages))
        for arm, of in read.items()
    ]
    return Table(
        name=name,
        caption=f"{MEASURES[MAIN]}, before and after fine-tuning with {percent(fraction)} of the "
        f"labels: {place.where}",
        heads=text_cells("Arm", *stages),
        rows=tuple(rows),
    )


def _cell(seeds: Sequence[Similarity]) -> Cell:
    if not seeds:
        return Cell(text="not measured")
    over_seeds = point(seeds)
    sd = mean_of_known(one.subset_sd for one in seeds)
    notes = [] if sd is None else [f"± {score_text(sd)} over subsets"]
    if len(seeds) > 1:
        ends = interval_text((over_seeds.seeds[0], over_seeds.seeds[-1]))
        notes.append(f"{len(seeds)} seeds: {ends}")
    return Cell(text=score_text(over_seeds.value), number=over_seeds.value, notes=tuple(notes))


def measures_table(
    place: Place[Reuse],
    at: Mapping[str, Sequence[Reuse]],
    fraction: float,
    stages: Sequence[str],
    name: str,
) -> Table:
    """Every measure beside its chance and its untrained reference: one reading a row."""
    rows = [
        (Cell(text=arm, arm=arm), Cell(text=stage), Cell(text=title), *_measured(seeds))
        for measure, title in MEASURES.items()
        for arm, of in readings(at, measure).items()
        for stage in stages
        if (seeds := of.get(stage))
    ]
    legacy = [
        (Cell(text=arm, arm=arm), Cell(text=stage), Cell(text=_LEGACY), _number(mean(given)))
        for arm, runs in at.items()
        for stage in stages
        if (given := [run.legacy[stage] for run in runs if stage in run.legacy])
    ]
    heads = (
        "All images",
        "Subsets",
        "Their deviation",
        "Chance",
        "Its 97.5th percentile",
        "Untrained",
    )
    nothing = (Cell(text="–"),) * (len(heads) - 1)
    return Table(
        name=name,
        caption=f"Every measure with {percent(fraction)} of the labels, means over seeds: "
        f"{place.where}",
        heads=text_cells("Arm", "Stage", "Measure", *heads),
        rows=(*rows, *((*row, *nothing) for row in legacy)),
        note="Chance: subsets whose images are paired with those of other patients. Untrained: the "
        "tuned network against one with random weights, on all images. The biased forms rise "
        "towards 1 the more dimensions there are for each image, even for unrelated features: hold "
        "their chance against the mean of the subsets." + (_WARNING if legacy else ""),
    )


def _measured(seeds: Sequence[Similarity]) -> tuple[Cell, ...]:
    nulls = [one.null for one in seeds if one.null]
    return (
        _number(mean(one.value for one in seeds)),
        _number(mean_of_known(one.subset_mean for one in seeds)),
        _number(mean_of_known(one.subset_sd for one in seeds)),
        _number(mean_of_known(null[0] for null in nulls)),
        _number(mean_of_known(null[1] for null in nulls)),
        _number(mean_of_known(one.random for one in seeds)),
    )


def _number(value: float | None) -> Cell:
    return Cell(text="–") if value is None else Cell(text=score_text(value), number=value)


def reuse_findings(at: Mapping[str, Sequence[Reuse]], stages: Sequence[str]) -> list[str]:
    """The order of the arms over all stages, and where a value is no more than chance."""
    kept = {arm: seeds for arm, runs in at.items() if (seeds := _over_stages(runs, stages))}
    read = readings(at, MAIN)
    sentences = []
    if len(kept) > 1:
        order = sorted(kept, key=lambda arm: -mean(kept[arm]))
        most, least = order[0], order[-1]
        close = [arm for arm in order[1:] if kept[arm][-1] >= kept[most][0]]
        sentences.append(
            f"Averaged over the stages, {most} keeps most ({score_text(mean(kept[most]))}), "
            f"{least} least ({score_text(mean(kept[least]))}). {_apart(kept, close)}"
        )
    known = {
        f"{arm} at {stage}": (mean(one.value for one in seeds), max(nulls))
        for arm, of in read.items()
        for stage, seeds in of.items()
        if (nulls := [one.null[1] for one in seeds if one.null])
    }
    lost = [name for name, (value, chance) in known.items() if value <= chance]
    if lost:
        sentences.append(
            f"No more alike than mismatched images (97.5th percentile): {listed(lost)}."
        )
    elif known:
        sentences.append("All are more alike than mismatched images are (97.5th percentile).")
    return sentences


def _over_stages(runs: Sequence[Reuse], stages: Sequence[str]) -> list[float]:
    """The mean over the stages of each run that has them all, ascending."""
    deep = [stage for stage in stages if stage != POOLED]
    complete = [of for run in runs if deep and set(deep) <= set(of := run.cka.get(MAIN, {}))]
    return sorted(mean(of[stage].value for stage in deep) for of in complete)


def _apart(kept: Mapping[str, Sequence[float]], close: Sequence[str]) -> str:
    if all(len(seeds) == 1 for seeds in kept.values()):
        return "One seed only: how far another would move it is not known."
    if close:
        return f"Over seeds its range meets that of {listed(close)}: their order is not settled."
    return (
        f"Over seeds its range lies above that of {'the' if len(kept) == 2 else 'every'} other arm."
    )
