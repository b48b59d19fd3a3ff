"""Feature reuse: how much of each stage's features is still there after fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.stages import shown_stages, stage_marks, stages_named
from medstrata.report.read.results import Reuse
from medstrata.report.render.figures import Plot, PlotWords, Style
from medstrata.report.render.formatting import percent, percent_slug, slug, span
from medstrata.report.render.parts import (
    Folded,
    Heading,
    Part,
    Pictures,
    Section,
    SectionWords,
    Text,
    section_of,
)
from medstrata.report.render.summary_figures import Curves, Ground, common_limits, stage_figure
from medstrata.report.render.tables import unique_names
from medstrata.report.sections.heat_maps import heat_maps
from medstrata.report.sections.reuse_tables import (
    MEASURES,
    Readings,
    Runs,
    mean_of_known,
    measures_table,
    over_seeds,
    readings,
    reuse_findings,
    reuse_table,
)

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


_WORDS = SectionWords(
    anchor="reuse",
    title="Feature reuse",
    short="Feature reuse",
    lead=_LEAD,
)


def reuse_section(
    found: Sequence[Comparison[Reuse]], styles: Mapping[str, Style]
) -> Section | None:
    """Curves, heat maps, tables and sentences; None when nothing was measured."""
    return section_of(_WORDS, (part for one in found for part in _parts(one, styles)))


def _parts(comparison: Comparison[Reuse], styles: Mapping[str, Style]) -> Iterator[Part]:
    known = [_known(run) for run in comparison.every]
    stages = shown_stages(known)
    drawn = {
        (fraction, measure): _curves(readings(comparison.at(fraction), measure))
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
    yield Heading(comparison.where)
    yield Text(f"{_facts(comparison.every)}. {stages_named(known)}", "note")
    for fraction in comparison.fractions:
        at = comparison.at(fraction)
        name = f"{comparison.place}-reuse-{percent_slug(fraction)}"
        yield Heading(f"Fine-tuned with {percent(fraction)} of the labels", 4)
        yield from (Text(said) for said in reuse_findings(at, stages))
        yield Pictures(
            plots=[
                _picture(readings(at, measure), measure, stages, styles, limits, name)
                for measure in _DRAWN
                if drawn[fraction, measure]
            ],
            key=comparison.arms,
            caption=_CAPTION,
        )
        yield reuse_table(comparison, fraction, stages, name)
        yield Folded(
            title="Every measure, with chance and the untrained reference",
            parts=[measures_table(comparison, fraction, stages, f"{name}-measures")],
        )
        ends = (comparison.fractions[0], comparison.fractions[-1])
        heats = list(_heats(at, fraction, f"{name}-heat")) if fraction in ends else []
        if heats:
            yield Folded(title="Heat maps, stage by stage", parts=heats)


def _known(run: Reuse) -> dict[str, object]:
    return {
        stage: {measure: of.get(stage) for measure, of in run.cka.items()} for stage in run.stages
    }


def _facts(runs: Sequence[Reuse]) -> str:
    count, size = span(run.subsets.count for run in runs), span(run.subsets.size for run in runs)
    return f"{span(run.images for run in runs)} images; {count} random subsets of {size}"


def _curves(read: Readings) -> Curves:
    return {cell: over_seeds(seeds) for cell, seeds in read.items()}


def _ground(read: Readings, stages: Sequence[str]) -> Ground:
    """Chance from the lowest mean to the highest end of any arm, and the mean untrained network."""
    columns = [[one for cell, of in read.items() if cell[1] == at for one in of] for at in stages]
    chances = [[one.chance for one in column if one.chance] for column in columns]
    return Ground(
        band=[
            (min(low for low, _ in column), max(high for _, high in column)) if column else None
            for column in chances
        ],
        line=[mean_of_known(one.random for one in column) for column in columns],
    )


def _picture(
    read: Readings,
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
        plots = list(heat_maps(runs, f"{name}-{file}"))
        if plots:
            yield Pictures(
                plots=plots,
                owner=arm,
                layout="charts",
                caption=f"Linear CKA (debiased) between all pairs of stages, {percent(fraction)} "
                "of the labels, mean over seeds. Dark blue is 0, yellow is 1. The diagonal of the "
                "first map is the reuse of each stage.",
            )
