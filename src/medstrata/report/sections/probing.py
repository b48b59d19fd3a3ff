"""Layer-wise probing: what can be read out at each stage of the frozen encoders."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from markupsafe import Markup

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.conclusions import ranking_sentence
from medstrata.report.compare.stages import POOLED, shown_stages, stage_marks, stages_named
from medstrata.report.read.results import READ_OUTS, Probe
from medstrata.report.render.figures import Plot, PlotWords, Style
from medstrata.report.render.formatting import (
    counted,
    listed,
    metric_name,
    patients_named,
    percent,
    percent_slug,
    span,
)
from medstrata.report.render.parts import Collapsible, DefinitionList, Heading, Part, Pictures, Text
from medstrata.report.render.run_summary import Summary
from medstrata.report.render.summary_figures import common_limits, stage_figure
from medstrata.report.render.tables import Table, TableCell, arm_cell, text_cells
from medstrata.report.sections.results import summary_cells
from medstrata.report.sections.section import Section, headed_parts

# Stage -> arm -> its score.
Scores = Mapping[str, Mapping[str, Summary]]

_LEAD = Markup(
    "What can be read out of each stage while the encoder stays as it is: by a linear layer "
    "trained on the labels, and by the nearest labelled images. The claim under test is that "
    "losses on intermediate stages make informative features appear <b>earlier</b>. It would show "
    "as curves that are higher at the first stages than those of the arm without such a loss, "
    "clear of chance, and not merely as curves that are flat."
)
_NOTE = (
    "Where a run’s predictions are missing, the interval is the one recorded for the seed with the "
    "median score, and the entry says so. The sentences are about the linear layer. Level with the "
    "last stage means: the first stage whose score reaches into the interval of the same arm's "
    "last stage. Few test patients make wide intervals, which an early stage reaches easily: "
    "compare the arms, and look at the heights. Neither clear nor level is a test of the "
    "difference between two arms on the same patients, which would be sharper."
)


def probing_section(
    comparisons: Sequence[Comparison[Probe]], styles: Mapping[str, Style]
) -> Section:
    """Curves, tables and sentences of every comparison where a stage has a score."""
    parts = headed_parts(comparisons, partial(probing_parts, styles=styles))
    return Section(
        anchor="probing",
        title="Layer-wise probing",
        short="Probing",
        lead=_LEAD,
        parts=[*parts, Text(_NOTE, "note")] if parts else (),
    )


def probing_parts(comparison: Comparison[Probe], styles: Mapping[str, Style]) -> Iterator[Part]:
    """The same of one comparison."""
    scored_stages = [run.test.stages for run in comparison.every]
    stages = shown_stages(scored_stages)
    scores = {
        (fraction, read_out): _scores(comparison, fraction, read_out, stages)
        for fraction in comparison.fractions
        for read_out in READ_OUTS
    }
    every = [one for of in scores.values() for column in of.values() for one in column.values()]
    if not every:
        return
    # One range for all fractions and read-outs.
    limits = common_limits(every)
    metric, test = comparison.metric, comparison.first.test
    whose = patients_named(test.patients, test.unknown_patients)
    tested = f"{counted(test.images, 'test image')} of {whose}"
    yield Text(f"{metric_name(metric)} on {tested}. {stages_named(scored_stages)}", "note")
    for fraction in comparison.fractions:
        at = {read_out: scores[fraction, read_out] for read_out in READ_OUTS}
        name = f"{comparison.place}-probing-{percent_slug(fraction)}"
        share = f"{percent(fraction)} of the labels"
        runs = [run for runs in comparison.at(fraction).values() for run in runs]
        yield Heading(f"{share} ({span(run.subset.images for run in runs)} images)", 4)
        yield Pictures(
            plots=[
                _picture(of, styles, limits, read_out, f"{name}-{read_out}")
                for read_out, of in at.items()
                if any(of.values())
            ],
            key=comparison.arms,
            caption="Test score of each stage. Filled markers: mean over seeds. Bars: "
            f"{percent(LEVEL)} interval of that mean over patients, the same resamples for all "
            "arms and stages. Open circles: single seeds. Arms stand side by side at each stage. "
            "The vertical range is the same at all fractions and does not start at zero.",
        )
        sentences = list(_sentences(at["linear"], comparison))
        if sentences:
            yield DefinitionList(sentences)
        yield Collapsible(
            title=f"The numbers at {share}", parts=[_read_outs_table(comparison, at, share, name)]
        )


def _scores(
    comparison: Comparison[Probe], fraction: float, read_out: str, stages: Sequence[str]
) -> Scores:
    metric = comparison.metric
    return {one: comparison.column(fraction, metric, f"{one}.{read_out}") for one in stages}


def _picture(
    scores: Scores,
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    read_out: str,
    name: str,
) -> Plot:
    curves = {(arm, stage): one for stage, column in scores.items() for arm, one in column.items()}
    title = READ_OUTS[read_out]
    alt = f"{title}: test score over the stages, one curve an arm; the numbers are in the table."
    words = PlotWords(name, title, alt)
    return stage_figure(curves, stage_marks(list(scores)), styles, words, limits=limits)


def _read_outs_table(
    comparison: Comparison[Probe], at: Mapping[str, Scores], share: str, name: str
) -> Table:
    metric, stages = comparison.metric, list(at["linear"])
    rows = []
    for read_out, title in READ_OUTS.items():
        scores = at[read_out]
        cells = {
            stage: summary_cells(column, metric, narrow=True) for stage, column in scores.items()
        }
        for arm in comparison.arms:
            if any(arm in column for column in scores.values()):
                entries = [cells[stage].get(arm, TableCell("no score")) for stage in stages]
                first = _arrival(scores, arm, metric)
                reached = TableCell(first or "–", stages.index(first) + 1 if first else None)
                rows.append((arm_cell(arm), TableCell(title), *entries, reached))
    return Table(
        name=name,
        caption=f"Test {metric_name(metric)} of each stage with {share}, "
        f"{'less' if metric in LOWER_IS_BETTER else 'more'} is better: {comparison.where}",
        heads=text_cells("Arm", "Read-out", *stages, "Level with its last stage from"),
        rows=tuple(rows),
    )


def _arrival(scores: Scores, arm: str, metric: str) -> str | None:
    """The first stage that scores within, or better than, the last stage's interval."""
    of = {s: column[arm] for s, column in scores.items() if arm in column and s != POOLED}
    if len(of) < 2 or (interval := list(of.values())[-1].interval) is None:
        return None
    low, high = interval
    level = [
        stage
        for stage, one in of.items()
        if (one.value <= high if metric in LOWER_IS_BETTER else one.value >= low)
    ]
    return level[0] if level else list(of)[-1]


def _sentences(scores: Scores, comparison: Comparison[Probe]) -> Iterator[tuple[str, str]]:
    """What the linear read-out shows, stage by stage, and where each arm is level with its end."""
    for stage, column in scores.items():
        if len(column) > 1:
            yield stage, ranking_sentence(column, comparison.metric)
    arrivals: dict[str, list[str]] = {}
    for arm in comparison.arms:
        first = _arrival(scores, arm, comparison.metric)
        if first is not None:
            arrivals.setdefault(first, []).append(arm)
    if arrivals:
        parts = [f"{listed(arrivals[stage])} at {stage}" for stage in scores if stage in arrivals]
        yield "Level with the last stage", f"{'; '.join(parts)}."
