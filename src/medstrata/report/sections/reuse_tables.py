"""Feature reuse in numbers: similarities over seeds, tables of them, and what they bear out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.conclusions import overlapping_arms
from medstrata.report.compare.stages import POOLED, values_by_arm_and_stage
from medstrata.report.read.results import Reuse, Similarity
from medstrata.report.render.formatting import listed, percent, score_text
from medstrata.report.render.run_summary import Summary, mean_summary
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_cell,
    arm_table,
    number_cell,
    text_cells,
)

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

# The runs of each arm at one fraction.
Runs = Mapping[str, Sequence[Reuse]]
# (Arm, stage) -> one similarity a seed.
Similarities = Mapping[tuple[str, str], Sequence[Similarity]]


def similarities(at: Runs, measure: str) -> Similarities:
    """What one measure reads for each arm and stage."""
    return values_by_arm_and_stage(at, lambda run: run.cka.get(measure, {}))


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are defined, None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def over_seeds(seeds: Sequence[Similarity]) -> Summary:
    """The mean over seeds, with one standard deviation over subsets as its bar."""
    bar = mean_of_known(one.subset_sd for one in seeds)
    return mean_summary([one.value for one in seeds], bar)


def reuse_table(
    comparison: Comparison[Reuse], fraction: float, stages: Sequence[str], name: str
) -> Table:
    """The main measure: an arm a row, a stage a column."""
    read = similarities(comparison.at(fraction), MAIN)
    return arm_table(
        name,
        f"{MEASURES[MAIN]}, before and after fine-tuning with {percent(fraction)} of the labels: "
        f"{comparison.where}",
        dict.fromkeys(arm for arm, _ in read),
        {stage: TableCell(stage) for stage in stages},
        {cell: _similarity_cell(seeds) for cell, seeds in read.items()},
        missing="not measured",
    )


def _similarity_cell(seeds: Sequence[Similarity]) -> TableCell:
    summary = over_seeds(seeds)
    sd = mean_of_known(one.subset_sd for one in seeds)
    subsets = [] if sd is None else [f"± {score_text(sd)} over subsets"]
    return number_cell(summary.value, *subsets, *summary.runs_notes(narrow=True))


def measures_table(
    comparison: Comparison[Reuse], fraction: float, stages: Sequence[str], name: str
) -> Table:
    """Every measure beside its chance and its untrained reference: one reading a row."""
    at = comparison.at(fraction)
    rows = [
        (arm_cell(arm), TableCell(stage), TableCell(title), *map(number_cell, _measured(seeds)))
        for measure, title in MEASURES.items()
        for read in [similarities(at, measure)]
        for arm in at
        for stage in stages
        if (seeds := read.get((arm, stage)))
    ]
    heads = (
        "All images",
        "Subsets",
        "Their deviation",
        "Chance",
        "Its 97.5th percentile",
        "Untrained",
    )
    nothing = (TableCell("–"),) * (len(heads) - 1)
    legacy_values = values_by_arm_and_stage(at, lambda run: run.legacy)
    legacy = [
        (
            arm_cell(arm),
            TableCell(stage),
            TableCell(_LEGACY),
            number_cell(mean_of_known(values)),
            *nothing,
        )
        for arm in at
        for stage in stages
        if (values := legacy_values.get((arm, stage)))
    ]
    return Table(
        name=name,
        caption=f"Every measure with {percent(fraction)} of the labels, means over seeds: "
        f"{comparison.where}",
        heads=text_cells("Arm", "Stage", "Measure", *heads),
        rows=(*rows, *legacy),
        note="Chance: subsets whose images are paired with those of other patients. Untrained: the "
        "tuned network against one with random weights, on all images. The biased forms rise "
        "towards 1 the more dimensions there are for each image, even for unrelated features: hold "
        "their chance against the mean of the subsets." + (_WARNING if legacy else ""),
    )


def _measured(seeds: Sequence[Similarity]) -> Iterator[float | None]:
    """Means over seeds, in the order of the heads."""
    chances = [one.chance for one in seeds if one.chance]
    yield mean_of_known(one.value for one in seeds)
    yield mean_of_known(one.subset_mean for one in seeds)
    yield mean_of_known(one.subset_sd for one in seeds)
    yield mean_of_known(low for low, _ in chances)
    yield mean_of_known(high for _, high in chances)
    yield mean_of_known(one.random for one in seeds)


def reuse_findings(at: Runs, stages: Sequence[str]) -> Iterator[str]:
    """The order of the arms over all stages, and where a value is no more than chance."""
    kept = {arm: seeds for arm, runs in at.items() if (seeds := _over_stages(runs, stages))}
    if len(kept) > 1:
        order = sorted(kept, key=lambda arm: -kept[arm].value)
        most, least = (f"({score_text(kept[arm].value)})" for arm in (order[0], order[-1]))
        yield (
            f"Averaged over the stages, {order[0]} keeps most {most}, {order[-1]} least {least}. "
            f"{_apart(kept, overlapping_arms(kept, order))}"
        )
    similarity_and_chance = {
        f"{arm} at {stage}": (over_seeds(seeds).value, max(highs))
        for (arm, stage), seeds in similarities(at, MAIN).items()
        if (highs := [one.chance[1] for one in seeds if one.chance])
    }
    lost = [name for name, (value, chance) in similarity_and_chance.items() if value <= chance]
    if lost:
        yield f"No more alike than mismatched images (97.5th percentile): {listed(lost)}."
    elif similarity_and_chance:
        yield "All are more alike than mismatched images are (97.5th percentile)."


def _over_stages(runs: Sequence[Reuse], stages: Sequence[str]) -> Summary | None:
    """The mean over the stages of each run that has them all."""
    deep = [stage for stage in stages if stage != POOLED]
    complete = [of for run in runs if deep and set(deep) <= set(of := run.cka.get(MAIN, {}))]
    means = [sum(of[stage].value for stage in deep) / len(deep) for of in complete]
    return mean_summary(means) if means else None


def _apart(kept: Mapping[str, Summary], close: Sequence[str]) -> str:
    if all(len(one.runs) == 1 for one in kept.values()):
        return "One seed only: how far another would move it is not known."
    if close:
        return f"Over seeds its range meets that of {listed(close)}: their order is not settled."
    others = "the" if len(kept) == 2 else "every"
    return f"Over seeds its range lies above that of {others} other arm."
