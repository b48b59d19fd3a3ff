"""Layer-wise probing: what can be read out at each stage of the frozen encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.metrics.intervals import LOWER_IS_BETTER
from medstrata.report.compare.compare import Summary, best, ranked, summary
from medstrata.report.compare.places import (
    POOLED,
    Place,
    share,
    shown_stages,
    stage_marks,
    stages_named,
)
from medstrata.report.read.facts import Note
from medstrata.report.read.layer_runs import READ_OUTS, Probe
from medstrata.report.read.predictions import Predictions, read_probe_predictions
from medstrata.report.render.figures import Plot, Style
from medstrata.report.render.formatting import (
    counted,
    interval_text,
    listed,
    metric_name,
    percent,
    score_text,
    span,
)
from medstrata.report.render.stage_figures import Curves, Point, stage_figure, stage_limits
from medstrata.report.render.tables import Cell, Table, text_cells

# Arm -> stage -> its score.
Scores = Mapping[str, Mapping[str, Summary]]


@dataclass(frozen=True, kw_only=True)
class FractionView:
    """All arms at one fraction of the labels; `sentences` is (stage or head, sentence)."""

    fraction: float
    images: str
    plots: tuple[Plot, ...]
    table: Table
    sentences: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class ProbingView:
    """One task on one store; `notes` name the runs whose predictions are missing."""

    where: str
    judged: str
    arms: tuple[str, ...]
    stages: str
    fractions: tuple[FractionView, ...]
    notes: tuple[Note, ...]


def probing_view(place: Place[Probe], styles: Mapping[str, Style], name: str) -> ProbingView | None:
    """Curves, tables and sentences of one place; None when no stage has a score.

    Args:
        place: Runs that can be compared.
        styles: Arm -> style.
        name: Begins the names of pictures and tables.
    """
    known = [run.stages for run in place.every]
    stages = shown_stages(known)
    metric = place.every[0].metric
    fractions = sorted({run.fraction for run in place.every})
    predictions = read_probe_predictions(place.every)
    read = {
        (one, out): _scores(place, one, out, stages, predictions)
        for one in fractions
        for out in READ_OUTS
    }
    curves = {key: _curves(scores, stages) for key, scores in read.items()}
    if not any(curves.values()):
        return None
    # One range for all fractions and read-outs.
    limits = stage_limits(list(curves.values()))
    first = place.every[0]
    return ProbingView(
        where=place.where,
        judged=f"{metric_name(metric)} on {counted(first.test_images, 'test image')} of "
        f"{counted(first.test_patients, 'patient')}",
        arms=tuple(place.runs),
        stages=stages_named(known),
        fractions=tuple(
            FractionView(
                fraction=one,
                images=span(run.subset_images for run in place.every if run.fraction == one),
                plots=tuple(
                    _picture(
                        curves[one, out], stages, styles, limits, out, f"{name}-{share(one)}-{out}"
                    )
                    for out in READ_OUTS
                    if curves[one, out]
                ),
                table=_table(place, read, one, stages, metric, f"{name}-{share(one)}"),
                sentences=tuple(_said(read[one, "linear"], stages, metric)),
            )
            for one in fractions
        ),
        notes=next(iter(predictions.values())).notes,
    )


def _scores(
    place: Place[Probe],
    fraction: float,
    read_out: str,
    stages: Sequence[str],
    predictions: Mapping[str, Predictions],
) -> Scores:
    found: dict[str, dict[str, Summary]] = {}
    for arm, runs in place.runs.items():
        at = [run for run in runs if run.fraction == fraction]
        for stage in stages:
            scored = [run for run in at if read_out in run.stages.get(stage, {})]
            if scored:
                metric = scored[0].metric
                of_mean = predictions[f"{stage}.{read_out}"].interval(metric, scored)
                over_seeds = summary(
                    [run.stages[stage][read_out] for run in scored], metric, of_mean
                )
                if over_seeds is not None:
                    found.setdefault(arm, {})[stage] = over_seeds
    return found


def _curves(scores: Scores, stages: Sequence[str]) -> Curves:
    def point(one: Summary | None) -> Point | None:
        if one is None:
            return None
        return Point(value=one.value, bar=one.interval, seeds=one.seeds)

    return {arm: [point(of.get(stage)) for stage in stages] for arm, of in scores.items()}


def _picture(
    curves: Curves,
    stages: Sequence[str],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    read_out: str,
    name: str,
) -> Plot:
    title = READ_OUTS[read_out]
    alt = f"{title}: test score over the stages, one curve an arm; the numbers are in the table."
    marks = stage_marks(stages)
    return stage_figure(curves, marks, styles, name=name, title=title, alt=alt, limits=limits)


def _table(
    place: Place[Probe],
    read: Mapping[tuple[float, str], Scores],
    fraction: float,
    stages: Sequence[str],
    metric: str,
    name: str,
) -> Table:
    rows = []
    for read_out, title in READ_OUTS.items():
        scores = read[fraction, read_out]
        for arm, of in scores.items():
            cells = [_cell(scores, arm, stage, metric) for stage in stages]
            first = _arrival(of, stages, metric)
            reached = Cell(text=first or "–", number=stages.index(first) + 1 if first else None)
            rows.append((Cell(text=arm, arm=arm), Cell(text=title), *cells, reached))
    heads = ("Arm", "Read-out", *stages, "Level with its last stage from")
    return Table(
        name=name,
        caption=f"Test {metric_name(metric)} of each stage with {percent(fraction)} of the labels, "
        f"{'less' if metric in LOWER_IS_BETTER else 'more'} is better: {place.where}",
        heads=text_cells(*heads),
        rows=tuple(rows),
    )


def _cell(scores: Scores, arm: str, stage: str, metric: str) -> Cell:
    one = scores[arm].get(stage)
    if one is None:
        return Cell(text="no score")
    column = {other: of[stage] for other, of in scores.items() if stage in of}
    notes = [] if one.interval else ["no interval recorded"]
    if len(one.seeds) > 1:
        notes.append(f"{len(one.seeds)} seeds: {interval_text((one.seeds[0], one.seeds[-1]))}")
        if one.interval and not one.of_mean:
            notes.append("interval of the median seed")
    return Cell(
        text=score_text(one.value),
        number=one.value,
        interval=one.interval,
        notes=tuple(notes),
        best=arm in best(column, metric),
    )


def _arrival(of: Mapping[str, Summary], stages: Sequence[str], metric: str) -> str | None:
    """The first stage that scores within, or better than, the last stage's interval."""
    known = [stage for stage in stages if stage in of and stage != POOLED]
    if len(known) < 2 or (interval := of[known[-1]].interval) is None:
        return None
    low, high = interval
    return next(
        stage
        for stage in known
        if (of[stage].value <= high if metric in LOWER_IS_BETTER else of[stage].value >= low)
        or stage == known[-1]
    )


def _said(scores: Scores, stages: Sequence[str], metric: str) -> list[tuple[str, str]]:
    """What the linear read-out shows, stage by stage, and where each arm is level with its end."""
    sentences = []
    for stage in stages:
        column = {arm: of[stage] for arm, of in scores.items() if stage in of}
        if len(column) > 1:
            sentences.append((stage, _leader(column, metric)))
    arrivals: dict[str, list[str]] = {}
    for arm, of in scores.items():
        first = _arrival(of, stages, metric)
        if first is not None:
            arrivals.setdefault(first, []).append(arm)
    if arrivals:
        parts = [f"{listed(arrivals[stage])} at {stage}" for stage in stages if stage in arrivals]
        sentences.append(("Level with the last stage", f"{'; '.join(parts)}."))
    return sentences


def _leader(column: Mapping[str, Summary], metric: str) -> str:
    order = ranked(column, metric)
    first, others = order[0], order[1:]
    top = column[first]
    standing = f"{first} {score_text(top.value)} comes first, {others[0]} "
    standing += f"{score_text(column[others[0]].value)} next"
    if any(one.interval is None for one in column.values()):
        return f"{standing}; an interval is missing, so nothing is said about chance."
    low, high = top.reach
    close = [arm for arm in others if column[arm].reach[0] <= high and low <= column[arm].reach[1]]
    if not close:
        return f"{standing}; clear of {'it' if len(others) == 1 else 'all others'}."
    if len(close) == len(others):
        return f"{standing}; it is not clear of any other arm, so the order is not settled."
    return f"{standing}; it is not clear of {listed(close)}."
