"""Feature reuse: how much of each stage's features is still there after fine-tuning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare.places import Place, share, shown_stages, stage_marks, stages_named
from medstrata.report.read.layer_runs import Matrix, Reuse
from medstrata.report.render.figures import Picture, Style
from medstrata.report.render.stage_figures import (
    Curves,
    Ground,
    heat_figure,
    stage_figure,
    stage_limits,
)
from medstrata.report.render.tables import DataTable, distinct
from medstrata.report.render.words import score_text, slug, span
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
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class FractionView:
    """All arms at one fraction of the labels."""

    fraction: float
    pictures: tuple[Picture, ...]
    said: tuple[str, ...]
    table: DataTable
    measures: DataTable
    heats: tuple[HeatView, ...]


@dataclass(frozen=True, kw_only=True)
class ReuseView:
    """One task on one store."""

    where: str
    facts: str
    arms: tuple[str, ...]
    stages: str
    fractions: tuple[FractionView, ...]


def reuse_view(place: Place[Reuse], looks: Mapping[str, Style], name: str) -> ReuseView | None:
    """Curves, heat maps, tables and sentences of one place; None when nothing was measured.

    Args:
        place: Runs that can be compared.
        looks: Arm -> style.
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
                pictures=tuple(
                    _picture(
                        at[one], measure, stages, looks, limits, f"{name}-{share(one)}-{measure}"
                    )
                    for measure in _DRAWN
                    if drawn[one, measure]
                ),
                said=tuple(reuse_findings(at[one], stages)),
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
    looks: Mapping[str, Style],
    limits: tuple[float, float],
    name: str,
) -> Picture:
    read = readings(at, measure)
    title = MEASURES[measure]
    return stage_figure(
        _curves(read, stages),
        stage_marks(stages),
        looks,
        name=name.replace("_", "-"),
        title=title,
        alt=f"{title} before and after fine-tuning over the stages, one curve an arm; the numbers "
        "are in the table.",
        limits=limits,
        ground=_ground(read, stages),
    )


def _heats(at: Mapping[str, Sequence[Reuse]], name: str) -> list[HeatView]:
    known = {arm: [run for run in runs if run.heatmaps] for arm, runs in at.items()}
    files = distinct(slug(arm) for arm in known)
    return [
        HeatView(arm=arm, pictures=tuple(_heat_pictures(runs, f"{name}-{file}")))
        for (arm, runs), file in zip(known.items(), files, strict=True)
        if runs
    ]


def _heat_pictures(runs: Sequence[Reuse], name: str) -> Iterator[Picture]:
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
        told = ", ".join("undefined" if one is None else score_text(one) for one in diagonal)
        yield heat_figure(
            average,
            stage_marks(stages),
            name=f"{name}-{part}",
            title=title,
            alt=f"{title}: stages by stages; on the diagonal {told}.",
        )


def _average(matrices: Sequence[Matrix]) -> Matrix:
    return tuple(
        tuple(mean_of_known(values) for values in zip(*rows, strict=True))
        for rows in zip(*matrices, strict=True)
    )
