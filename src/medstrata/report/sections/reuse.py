"""Feature reuse: how much of each stage's features is still there after fine-tuning."""

import math
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.stages import shown_stages, stage_marks, stages_named
from medstrata.report.read.results import Matrix, Reuse
from medstrata.report.render.figures import INK, Plot, PlotWords, Style, page_style, plot
from medstrata.report.render.formatting import percent, percent_slug, score_text, slug, span
from medstrata.report.render.parts import Collapsible, Heading, Part, Pictures, Text
from medstrata.report.render.summary_figures import (
    Curves,
    ReferenceBand,
    common_limits,
    stage_figure,
)
from medstrata.report.render.tables import unique_names
from medstrata.report.sections.reuse_tables import (
    MEASURES,
    Runs,
    Similarities,
    mean_of_known,
    measures_table,
    over_seeds,
    reuse_findings,
    reuse_table,
    similarities,
)
from medstrata.report.sections.section import Section

_DRAWN = ("linear_debiased", "rbf_debiased")
_LEAD = Markup(
    "How alike the features of the same test images are before and after the whole network was "
    "fine-tuned: 1 if fine-tuning left them as they were, up to rotation and scale; about 0 if "
    "nothing of them is left. The claim under test is that losses on intermediate stages make "
    "features that are <b>reused more</b>. Reuse by itself is no merit: a start that is useless "
    "may also be kept where few labels cannot move it. Read it together with the scores."
)
_CAPTION = (
    "Centred kernel alignment of each stage before and after fine-tuning. Filled markers: mean "
    "over seeds. Bars: one standard deviation over random subsets of the images. Open circles: "
    "single seeds. Grey band: chance, from the mean to the 97.5th percentile of what images paired "
    "with another patient's reach (the widest of all arms). Dashed: the tuned network against an "
    "untrained one, mean of the arms."
)


def reuse_section(comparisons: Sequence[Comparison[Reuse]], styles: Mapping[str, Style]) -> Section:
    """Curves, heat maps, tables and sentences of every comparison where something was measured."""
    return Section(
        anchor="reuse",
        title="Feature reuse",
        short="Feature reuse",
        lead=_LEAD,
        parts=[part for one in comparisons for part in _parts(one, styles)],
    )


def _parts(comparison: Comparison[Reuse], styles: Mapping[str, Style]) -> Iterator[Part]:
    measured = [_known(run) for run in comparison.every]
    stages = shown_stages(measured)
    drawn = {
        (fraction, measure): _curves(similarities(comparison.at(fraction), measure))
        for fraction in comparison.fractions
        for measure in _DRAWN
    }
    every = [
        one for curves in drawn.values() for (_, stage), one in curves.items() if stage in stages
    ]
    if not every:
        return
    low, high = common_limits(every)
    # Chance lies near 0 and must be seen.
    limits = (min(low, -0.03), max(high, 1.02))
    # All were fine-tuned whole, as the lead says, so the heading leaves the protocol out.
    yield Heading(comparison.where)
    yield Text(f"{_facts(comparison.every)}. {stages_named(measured)}", "note")
    for fraction in comparison.fractions:
        at = comparison.at(fraction)
        name = f"{comparison.place}-reuse-{percent_slug(fraction)}"
        yield Heading(f"Fine-tuned with {percent(fraction)} of the labels", 4)
        yield from (Text(sentence) for sentence in reuse_findings(at, stages))
        yield Pictures(
            plots=[
                _picture(similarities(at, measure), measure, stages, styles, limits, name)
                for measure in _DRAWN
                if drawn[fraction, measure]
            ],
            key=comparison.arms,
            caption=_CAPTION,
        )
        yield reuse_table(comparison, fraction, stages, name)
        yield Collapsible(
            title="Every measure, with chance and the untrained reference",
            parts=[measures_table(comparison, fraction, stages, f"{name}-measures")],
        )
        ends = (comparison.fractions[0], comparison.fractions[-1])
        heats = list(_heats(at, fraction, f"{name}-heat")) if fraction in ends else []
        if heats:
            yield Collapsible(title="Heat maps, stage by stage", parts=heats)


def _known(run: Reuse) -> dict[str, object]:
    return {
        stage: {measure: of.get(stage) for measure, of in run.cka.items()} for stage in run.stages
    }


def _facts(runs: Sequence[Reuse]) -> str:
    count, size = span(run.subsets.count for run in runs), span(run.subsets.size for run in runs)
    return f"{span(run.images for run in runs)} images; {count} random subsets of {size}"


def _curves(read: Similarities) -> Curves:
    return {cell: over_seeds(seeds) for cell, seeds in read.items()}


def _ground(read: Similarities, stages: Sequence[str]) -> ReferenceBand:
    """Chance from the lowest mean to the highest end of any arm, and the mean untrained network."""
    columns = [[one for cell, of in read.items() if cell[1] == at for one in of] for at in stages]
    chances = [[one.chance for one in column if one.chance] for column in columns]
    return ReferenceBand(
        band=[
            (min(low for low, _ in column), max(high for _, high in column)) if column else None
            for column in chances
        ],
        line=[mean_of_known(one.random for one in column) for column in columns],
    )


def _picture(
    read: Similarities,
    measure: str,
    stages: Sequence[str],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    name: str,
) -> Plot:
    title = MEASURES[measure]
    alt = (
        f"{title} before and after fine-tuning over the stages, one curve an arm; the numbers are "
        "in the table."
    )
    return stage_figure(
        _curves(read),
        stage_marks(stages),
        styles,
        PlotWords(f"{name}-{measure.replace('_', '-')}", title, alt),
        limits=limits,
        ground=_ground(read, stages),
    )


def _heats(at: Runs, fraction: float, name: str) -> Iterator[Pictures]:
    for (arm, runs), file in zip(at.items(), unique_names(map(slug, at)), strict=True):
        plots = list(_heat_maps(runs, f"{name}-{file}"))
        if plots:
            yield Pictures(
                plots=plots,
                owner=arm,
                layout="charts",
                caption=f"Linear CKA (debiased) between all pairs of stages, {percent(fraction)} "
                "of the labels, mean over seeds. Dark blue is 0, yellow is 1. The diagonal of the "
                "first map is the reuse of each stage.",
            )


def _heat_maps(runs: Sequence[Reuse], name: str) -> Iterator[Plot]:
    """Means over the seeds of an arm that measured the same stages; nothing where none did."""
    measured = [(run.heatmap, run.stages) for run in runs if run.heatmap]
    if not measured:
        return
    stages = measured[0][1]
    maps = [heatmap for heatmap, own in measured if own == stages]
    parts = {
        "before-after": ("Before (rows) and after (columns)", [m.before_after for m in maps]),
        "before": ("Before, within", [m.before for m in maps]),
        "after": ("After, within", [m.after for m in maps]),
    }
    for part, (title, matrices) in parts.items():
        average = tuple(
            tuple(mean_of_known(values) for values in zip(*rows, strict=True))
            for rows in zip(*matrices, strict=True)
        )
        diagonal = (row[i] for i, row in enumerate(average))
        said = ", ".join("undefined" if one is None else score_text(one) for one in diagonal)
        alt = f"{title}: stages by stages; on the diagonal {said}."
        yield _heat_figure(
            average, list(stage_marks(stages).values()), PlotWords(f"{name}-{part}", title, alt)
        )


def _heat_figure(matrix: Matrix, marks: Sequence[str], words: PlotWords) -> Plot:
    """Each value printed in its cell, the first stage at the top; colours run from 0 to 1."""
    with rc_context(page_style(9)):
        figure = Figure(figsize=(2.6, 2.35))
        axes = figure.add_axes((0.2, 0.13, 0.79, 0.85))
        side = len(marks)
        axes.pcolormesh(
            [[math.nan if one is None else min(max(one, 0), 1) for one in row] for row in matrix],
            cmap=matplotlib.colormaps["cividis"],
            vmin=0,
            vmax=1,
            edgecolor="none",
        )
        for row, values in enumerate(matrix):
            for column, value in enumerate(values):
                # Black or white, whichever stands out more from the colour beneath.
                ink = INK if value is None else "#ffffff" if value < 0.55 else "#000000"
                text = "–" if value is None else f"{value:.2f}".replace("-", "−")
                axes.text(column + 0.5, row + 0.5, text, color=ink, ha="center", va="center")
        axes.set(xlim=(0, side), ylim=(side, 0))
        places = [place + 0.5 for place in range(side)]
        axes.set_xticks(places, marks)
        axes.set_yticks(places, marks)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return plot(figure, words)
