"""The first paragraph of the report: who is best with the fewest labels, and how sure that is."""

from collections.abc import Mapping, Sequence

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison, best_arms, group_by_task, ranked
from medstrata.report.compare.conclusions import PLAIN, leader_sentence, overlap_sentence
from medstrata.report.compare.differences import SCRATCH, ContrastFamily, identity
from medstrata.report.read.results import Finetune, Pretrain, labels_used
from medstrata.report.read.runs import Collection
from medstrata.report.render.formatting import (
    counted,
    interval_text,
    listed,
    metric_name,
    percent,
    protocol_clause,
    score_text,
    signed,
)


def compared_first(
    comparisons: Sequence[Comparison[Finetune]],
) -> tuple[Comparison[Finetune], float] | None:
    """What the answer is about: the first comparison of several arms, and its fewest labels."""
    cells = ((one, fraction) for one in comparisons for fraction in one.fractions)
    several = (cell for cell in cells if len(cell[0].column(cell[1], cell[0].metric)) > 1)
    return next(several, None)


def headline(
    comparisons: Sequence[Comparison[Finetune]], paired: Mapping[str, Sequence[ContrastFamily]]
) -> tuple[str, str]:
    """Who wins with few labels, by how much and how surely; then the rest of what is to be said.

    The answer is whether pre-training pays, where that can be told, and else who scores best. The
    rest is who scores best, and whether intermediate losses help.

    Args:
        comparisons: The comparisons.
        paired: Name of a comparison -> its paired differences.
    """
    cell = compared_first(comparisons)
    if cell is None:
        return (
            "At no label fraction do two arms have a score on the same task and store: nothing can "
            "be compared.",
            "",
        )
    comparison, fraction = cell
    several = len(group_by_task(comparisons)) > 1
    # Of several data sets, the one it is about is named.
    where = f"On {comparison.store.name}, {comparison.task.name}: with" if several else "With"
    best = f"{where} {_headline(comparison, fraction, paired.get(comparison.name, ()))}"
    few = _by_few_labels(comparisons, comparison, fraction, paired)
    wins = _pretraining(comparisons, paired)
    help_given = _intermediate_losses([one for its in paired.values() for one in its])
    said = (wins, f"{best}{few} {help_given}") if wins else (best, f"{few} {help_given}")
    return said[0].strip(), said[1].strip()


def _by_few_labels(
    comparisons: Sequence[Comparison[Finetune]],
    first: Comparison[Finetune],
    fraction: float,
    paired: Mapping[str, Sequence[ContrastFamily]],
) -> str:
    """The same cell where the fraction counts the validation labels too; empty if there is none."""
    for one in comparisons:
        alike = (one.place, one.protocol) == (first.place, f"{first.protocol}_same")
        if alike and len(one.column(fraction, one.metric)) > 1:
            return f" With {_headline(one, fraction, paired.get(one.name, ()))}"
    return ""


def _pretraining(
    comparisons: Sequence[Comparison[Finetune]], paired: Mapping[str, Sequence[ContrastFamily]]
) -> str:
    """Whether the best pre-trained arm of each data set beats training from scratch.

    Only where every weight was trained: a frozen encoder from scratch is a random one.
    """
    several = len(group_by_task(comparisons)) > 1
    sentences = [
        f"{f'On {one.store.name}, {one.task.name}: with' if several else 'With'} {verdict}. "
        for one in comparisons
        if one.protocol == "full"
        for family in paired.get(one.name, ())
        if family.name == SCRATCH and (verdict := _against_scratch(one, family))
    ]
    return "".join(sentences)


def _against_scratch(comparison: Comparison[Finetune], family: ContrastFamily) -> str:
    """What follows "With": the best arm pre-trained on these images, with the fewest labels."""
    fraction = next(iter(family.fractions), 1.0)
    column = {
        arm: summary
        for arm, summary in comparison.column(fraction, comparison.metric).items()
        if (arm, fraction) in family.contrasts
        and arm not in family.other_backbone
        and identity(comparison, arm)[0] not in (SCRATCH, "imagenet")
    }
    if not column:
        return ""
    arm = ranked(column, comparison.metric)[0]
    contrast = family.contrasts[arm, fraction]
    verdict = {
        1: "pre-training wins",
        0: "pre-training is not clearly apart from training from scratch",
        -1: "pre-training loses",
    }[contrast.better]
    if contrast.too_few:
        verdict = f"no verdict on pre-training ({contrast.too_few})"
    difference = contrast.difference
    return (
        f"{percent(fraction)} of the labels {verdict}: {arm} against {family.baseline} "
        f"{signed(difference.value)} {metric_name(comparison.metric)}, {percent(LEVEL)} interval "
        f"{interval_text((difference.low, difference.high))}"
    )


def _intermediate_losses(families: Sequence[ContrastFamily]) -> str:
    """Whether arms with intermediate losses beat plain MoCo, each at its smallest fraction."""
    contrasts = [
        family.contrasts[arm, family.fractions[0]]
        for family in families
        if family.name == PLAIN and family.fractions
        for arm in family.arms
        if arm.startswith(f"{PLAIN}_") and arm not in family.other_backbone
        if (arm, family.fractions[0]) in family.contrasts
    ]
    if not contrasts:
        return ""
    fractions = {
        family.fractions[0] for family in families if family.name == PLAIN and family.fractions
    }
    share = (
        f"With {percent(min(fractions))} of the labels"
        if len(fractions) == 1
        else "At the smallest share of labels of each comparison"
    )
    judged = [one for one in contrasts if not one.too_few]
    if not judged:
        return f"{share}, no verdict on intermediate losses: {contrasts[0].too_few}. "
    better = sum(one.better > 0 for one in judged)
    worse = sum(one.better < 0 for one in judged)
    if not better and not worse:
        return (
            f"{share}, no arm with an intermediate loss is clearly better or worse than plain MoCo "
            f"({counted(len(judged), 'comparison')}). "
        )
    parts = [
        f"clearly {word} than plain MoCo in {number} of {counted(len(judged), 'comparison')}"
        for word, number in (("better", better), ("worse", worse))
        if number
    ]
    return f"{share}, arms with an intermediate loss are {' and '.join(parts)}. "


def _headline(
    comparison: Comparison[Finetune], fraction: float, families: Sequence[ContrastFamily]
) -> str:
    """What follows "With"."""
    metric = comparison.metric
    labels = labels_used(run for runs in comparison.at(fraction).values() for run in runs)
    column = comparison.column(fraction, metric)
    order = ranked(column, metric)
    top = column[order[0]]
    several = len(top.runs) > 1
    extras = [f"the mean of {len(top.runs)} runs"] if several else []
    if top.interval is not None:
        of_median = " for the median run" if several and not top.of_mean else ""
        interval = interval_text(top.interval)
        extras.append(f"{percent(LEVEL)} interval over patients{of_median} {interval}")
    leaders = [arm for arm in order if arm in best_arms(column, metric)]
    end = "lowest" if metric in LOWER_IS_BETTER else "highest"
    around = f" ({'; '.join(extras)})" if extras else ""
    return (
        f"{percent(fraction)} of the labels ({labels}) and "
        f"{protocol_clause(comparison.protocol)}, {listed(leaders)} "
        f"{'has' if len(leaders) == 1 else 'have'} the {end} {metric_name(metric)} of "
        f"{counted(len(column), 'arm')}: {score_text(top.value)}{around}. "
        f"{leader_sentence(families, fraction, leaders) or overlap_sentence(column, order)}"
    )


def without_scores(collection: Collection) -> str:
    """What stands there when nothing was fine-tuned."""
    if collection.of(Pretrain):
        says = "shows pre-training only and says nothing about how well the encoders classify."
    elif collection.runs:
        says = (
            "looks into the layers of encoders and says nothing about how well they classify once "
            "fine-tuned."
        )
    else:
        return "No run is finished: there are no results yet. What was found is listed below."
    return f"No finished fine-tuning run was given: this report {says}"
