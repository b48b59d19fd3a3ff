"""What the arms score: sentences, tables, figures and training curves."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison, arm_order, best_arms, group_by_task
from medstrata.report.compare.conclusions import conclusions
from medstrata.report.compare.differences import ContrastFamily
from medstrata.report.read.results import Finetune, labels_used
from medstrata.report.render.figures import PlotWords, Style
from medstrata.report.render.formatting import (
    metric_name,
    patients_named,
    percent,
    protocol_name,
    sentence,
    slug,
)
from medstrata.report.render.parts import Collapsible, DefinitionList, Heading, Part, Pictures, Text
from medstrata.report.render.run_summary import Summary
from medstrata.report.render.summary_figures import common_limits, fraction_figure
from medstrata.report.render.tables import (
    Table,
    TableCell,
    arm_table,
    labels_head,
    summary_cell,
    unique_names,
)
from medstrata.report.sections.curves import finetune_curves
from medstrata.report.sections.headline import compared_first
from medstrata.report.sections.section import Section

_SEVERAL_RUNS = (
    "Large number: mean over runs. Two kinds of chance are kept apart. The <b>{level} interval"
    "</b>, in brackets, is that of the mean over runs when test patients are drawn anew: it tells "
    "how far the mean would move with other patients, the trained models staying as they are. The "
    "<b>runs</b> line gives the standard deviation and the range of the runs' scores: it tells "
    "how far a score moves with other labelled images and another start. Neither contains the "
    "other; the paired differences hold both. Where a run's predictions are missing, the interval "
    "is the one recorded for the run with the median score (with an even number of runs, the worse "
    "of the middle two), and the entry says so."
)
_ONE_RUN = (
    "Large number: the score of one run. The <b>{level} interval</b>, in brackets, comes from "
    "resampling test patients: it tells how far the score would move with other patients, not with "
    "other labelled images."
)


def findings_section(
    comparisons: Sequence[Comparison[Finetune]], paired: Mapping[str, Sequence[ContrastFamily]]
) -> Section:
    """What every comparison shows, fraction by fraction.

    Args:
        comparisons: The comparisons.
        paired: Name of a comparison -> its paired differences.
    """
    parts: list[Part] = []
    for comparison in comparisons:
        by_fraction = conclusions(comparison, paired[comparison.name])
        terms = DefinitionList(
            [(f"{percent(fraction)} of labels", text) for fraction, text in by_fraction]
        )
        parts += [
            Heading(comparison.heading),
            terms if by_fraction else Text("No run has a score."),
        ]
    note = (
        "Clearly better or worse: the p-value of the paired difference, which counts patients, "
        "seeds and draws of the labels, is below 0.05 after Holm's correction over all differences "
        "to that baseline under the same protocol, and there are three seeds or more of each arm "
        "and several draws. Not clearly apart does not mean equal. Where nothing could be paired, "
        "two arms of three runs or more are called clear of each other only where neither their "
        "intervals over patients nor the scores of their runs touch."
    )
    parts.append(Text(note, "note"))
    return Section(anchor="findings", title="Findings", short="Findings", parts=parts)


def results_section(
    comparisons: Sequence[Comparison[Finetune]], styles: Mapping[str, Style]
) -> Section:
    """Figures, tables and training curves of every comparison."""
    several = any(len(runs) > 1 for comparison in comparisons for runs in comparison.runs.values())
    reading = Markup(_SEVERAL_RUNS if several else _ONE_RUN)  # noqa: S704  (both are ours)
    lead = Markup(
        "<b>How to read the tables.</b> {} <b>▲ best</b> marks the best number of a column, "
        "whether or not it lies clear of the others."
    ).format(reading.format(level=percent(LEVEL)))
    parts: list[Part] = []
    at_the_top = compared_first(comparisons)
    for same in group_by_task(comparisons):
        others = [one for one in same if at_the_top is None or one is not at_the_top[0]]
        parts += [Heading(same[0].where), *score_figures(same, others, styles)]
        for comparison in same:
            parts += _results(comparison, styles)
    return Section(anchor="results", title="Results", short="Results", lead=lead, parts=parts)


def score_figures(
    same: Sequence[Comparison[Finetune]],
    drawn: Sequence[Comparison[Finetune]],
    styles: Mapping[str, Style],
) -> Iterator[Pictures]:
    """Scores against the share of labels, protocols side by side; nothing where none is known.

    Args:
        same: The comparisons of one place, for a range that is the same in all of their pictures.
        drawn: Those of them to be drawn.
        styles: Arm -> style.
    """
    columns = {one.name: one.columns(one.metric) for one in same}
    summaries = [s for its in columns.values() for one in its.values() for s in one.values()]
    drawn = [one for one in drawn if columns[one.name]]
    if not drawn:
        return
    # One range for all protocols.
    limits = common_limits(summaries)
    several = any(len(one.runs) > 1 for one in summaries)
    seeds = "Filled markers: mean over runs. Open circles: single runs. " if several else ""
    yield Pictures(
        plots=[fraction_figure(columns[one.name], styles, limits, _words(one)) for one in drawn],
        key=arm_order(arm for comparison in drawn for arm in comparison.arms),
        caption=f"{sentence(metric_name(same[0].metric))} against the share of labels. {seeds}"
        f"Bars: {percent(LEVEL)} interval over patients. Arms stand side by side at each fraction "
        "so that bars can be told apart. The vertical range is the same for all protocols and does "
        "not start at zero.",
    )


def _words(comparison: Comparison[Finetune]) -> PlotWords:
    metric, protocol = metric_name(comparison.metric), protocol_name(comparison.protocol)
    return PlotWords(
        f"{comparison.name}-scores",
        f"{sentence(metric)}. {protocol}",
        f"{metric} against the labelled share of the training images, {protocol}: "
        f"{comparison.where}; the numbers are in the table of the same protocol.",
    )


def _results(comparison: Comparison[Finetune], styles: Mapping[str, Style]) -> Iterator[Part]:
    yield Heading(protocol_name(comparison.protocol), 4)
    scored = [metric for metric in comparison.metrics if comparison.columns(metric)]
    files = unique_names(f"{comparison.name}-{slug(metric)}" for metric in scored)
    tables = [_scores_table(comparison, *one) for one in zip(scored, files, strict=True)]
    if tables:
        yield tables[0]
    else:
        yield Text("No run of this protocol has a score.")
    if tables[1:]:
        others = ", ".join(metric_name(metric) for metric in scored[1:])
        yield Collapsible(title=f"Other metrics ({others})", parts=tables[1:])
    curves = list(finetune_curves(comparison, styles))
    if curves:
        yield Collapsible(title="Training curves", parts=curves)


def _scores_table(comparison: Comparison[Finetune], metric: str, name: str) -> Table:
    better = "less" if metric in LOWER_IS_BETTER else "more"
    test = comparison.first.test
    tested = f"test {patients_named(test.patients, test.unknown_patients)}"
    heads: dict[float, TableCell] = {}
    cells: dict[tuple[str, float], TableCell] = {}
    for fraction in comparison.fractions:
        heads[fraction] = labels_head(
            fraction, labels_used(run for runs in comparison.at(fraction).values() for run in runs)
        )
        column = summary_cells(comparison.column(fraction, metric), metric)
        cells |= {(arm, fraction): cell for arm, cell in column.items()}
    return arm_table(
        name,
        f"{sentence(metric_name(metric))} on {tested}, {better} is better: {comparison.clause}",
        comparison.arms,
        heads,
        cells,
    )


def summary_cells(
    column: Mapping[str, Summary], metric: str, *, narrow: bool = False
) -> dict[str, TableCell]:
    """A column of scores, each with its interval, what must be known of it, and its runs."""
    leaders = best_arms(column, metric)
    return {
        arm: summary_cell(
            one, *one.interval_notes, *one.runs_notes(narrow=narrow), best=arm in leaders
        )
        for arm, one in column.items()
    }
