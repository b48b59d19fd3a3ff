"""Feature reuse: how much of each stage's features is still there after fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare.places import Place, share, shown_stages, stage_marks, stages_named
from medstrata.report.read.layer_runs import Matrix, Reuse
from medstrata.report.render.figures import Plot, Style
from medstrata.report.render.formatting import score_text, slug, span
from medstrata.report.render.stage_figures import (
    Curves,
    Ground,
    heat_figure,
    stage_figure,
    stage_limits,
)
from medstrata.report.render.tables import Table, unique_names
from medstrata.report.sections.reuse_tables import (
    MAIN,
    MEASURES,
    Readings,
    mean_of_known,
    measures_table,
    point,
    readings,
    reuse_findings,
    reuse_table,
)

_DRAWN = ("linear_debiased", "rbf_debiased")


@dataclass(frozen=True, kw_only=True)
class HeatView:
    """One arm's heat maps."""

    arm: str
    plots: tuple[Plot, ...]


@dataclass(frozen=True, kw_only=True)
class FractionView:
    """All arms at one fraction of the labels."""

    fraction: float
    plots: tuple[Plot, ...]
    sentences: tuple[str, ...]
    table: Table
    measures: Table
    heats: tuple[HeatView, ...]


@dataclass(frozen=True, kw_only=True)
class ReuseView:
    """One task on one store."""

    where: str
    facts: str
    arms: tuple[str, ...]
    stages: str
    fractions: tuple[FractionView, ...]


def reuse_view(place: Place[Reuse], styles: Mapping[str, Style], name: str) -> ReuseView | None:
    """Curves, heat maps, tables and sentences of one place; None when nothing was measured.

    Args:
        place: Runs that can be compared.
        styles: Arm -> style.
        name: Begins the names of pictures and tables.
    """
    known = [_known(run) for run in place.every]
    stages = shown_stages(known)
    fractions = sorted({run.fraction for run in place.every})
    at = {one: _at(place, one) for one in fractions}
    drawn = {
        (one, measure): _curves(readings(at[one], measure), stages)
        for one in fractions
        for measure in _DRAWN
    }
    if not any(drawn.values()):
        return None
    low, high = stage_limits(list(drawn.values()))
    # Chance lies near 0 and must be seen.
    limits = (min(low, -0.03), max(high, 1.02))
    ends = {fractions[0], fractions[-1]}
    return ReuseView(
        where=place.where,
        facts=_facts(place.every),
        arms=tuple(place.runs),
        stages=stages_named(known),
        fractions=tuple(
            FractionView(
                fraction=one,
                plots=tuple(
                    _picture(
                        at[one], measure, stages, styles, limits, f"{name}-{share(one)}-{measure}"
                    )
                    for measure in _DRAWN
                    if drawn[one, measure]
                ),
                sentences=tuple(reuse_findings(at[one], stages)),
                table=reuse_table(
                    place, readings(at[one], MAIN), one, stages, f"{name}-{share(one)}"
                ),
                measures=measures_table(
                    place, at[one], one, stages, f"{name}-{share(one)}-measures"
                ),
                heats=tuple(_heats(at[one], f"{name}-{share(one)}-heat")) if one in ends else (),
            )
            for one in fractions
        ),
    )


def _known(run: Reuse) -> dict[str, object]:
    return {
        stage: {measure: of.get(stage) for measure, of in run.cka.items()} for stage in run.stages
    }


def _facts(runs: Sequence[Reuse]) -> str:
    subsets, size = span(run.subsets for run in runs), span(run.subset_size for run in runs)
    return f"{span(run.images for run in runs)} images; {subsets} random subsets of {size}"


def _at(place: Place[Reuse], fraction: float) -> dict[str, list[Reuse]]:
    at = {
        arm: [run for run in runs if run.fraction == fraction] for arm, runs in place.runs.items()
    }
    return {arm: runs for arm, runs in at.items() if runs}


def _curves(readings: Readings, stages: Sequence[str]) -> Curves:
    return {
        arm: [point(of[stage]) if stage in of else None for stage in stages]
        for arm, of in readings.items()
    }


def _ground(read: Readings, stages: Sequence[str]) -> Ground:
    """Chance from the lowest mean to the highest end of any arm, and the mean untrained network."""
    columns = [[one for of in read.values() for one in of.get(stage, ())] for stage in stages]
    nulls = [[one.null for one in column if one.null] for column in columns]
    return Ground(
        band=[
            (min(low for low, _ in column), max(high for _, high in column)) if column else None
            for column in nulls
        ],
        line=[mean_of_known(one.random for one in column) for column in columns],
    )


def _picture(
    at: Mapping[str, Sequence[Reuse]],
    measure: str,
    stages: Sequence[str],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    name: str,
) -> Plot:
    read = readings(at, measure)
    title = MEASURES[measure]
    return stage_figure(
        _curves(read, stages),
        stage_marks(stages),
        styles,
        name=name.replace("_", "-"),
        title=title,
        alt=f"{title} before and after fine-tuning over the stages, one curve an arm; the numbers "
        "are in the table.",
        limits=limits,
        ground=_ground(read, stages),
    )


def _heats(at: Mapping[str, Sequence[Reuse]], name: str) -> list[HeatView]:
    known = {arm: [run for run in runs if run.heatmaps] for arm, runs in at.items()}
    files = unique_names(slug(arm) for arm in known)
    return [
        HeatView(arm=arm, plots=tuple(_heat_pictures(runs, f"{name}-{file}")))
        for (arm, runs), file in zip(known.items(), files, strict=True)
        if runs
    ]


def _heat_pictures(runs: Sequence[Reuse], name: str) -> Iterator[Plot]:
    """Means over the seeds that measured the same stages."""
    stages = runs[0].stages
    maps = [run.heatmaps for run in runs if run.heatmaps and run.stages == stages]
    parts = {
        "before-after": ("Before (rows) and after (columns)", [m.before_after for m in maps]),
        "before": ("Before, within", [m.before for m in maps]),
        "after": ("After, within", [m.after for m in maps]),
    }
    for part, (title, matrices) in parts.items():
        average = _average(matrices)
        diagonal = [row[i] for i, row in enumerate(average)]
        diagonal_text = ", ".join(
            "undefined" if one is None else score_text(one) for one in diagonal
        )
        yield heat_figure(
            average,
            stage_marks(stages),
            name=f"{name}-{part}",
            title=title,
            alt=f"{title}: stages by stages; on the diagonal {diagonal_text}.",
        )


def _average(matrices: Sequence[Matrix]) -> Matrix:
    return tuple(
        tuple(mean_of_known(values) for values in zip(*rows, strict=True))
        for rows in zip(*matrices, strict=True)
    )
