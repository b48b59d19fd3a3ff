"""Comparisons as the page shows them: findings, figures, tables and training curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.metrics.intervals import LOWER_IS_BETTER
from medstrata.report.compare.compare import Bench, Comparison, Summary, best
from medstrata.report.compare.conclusions import Conclusion, conclusions
from medstrata.report.compare.differences import Family
from medstrata.report.render.figures import Plot, Style
from medstrata.report.render.formatting import (
    counted,
    interval_text,
    metric_name,
    percent,
    protocol_name,
    score_text,
    sentence,
    slug,
    span,
)
from medstrata.report.render.tables import Cell, Table, unique_names
from medstrata.report.sections.curves import Charts, finetune_charts
from medstrata.report.sections.inventory import subset_table
from medstrata.report.sections.score_figures import score_figure, score_limits


@dataclass(frozen=True, kw_only=True)
class Results:
    """One protocol of one bench; `others` names the metrics of all tables but the first."""

    protocol: str
    conclusions: tuple[Conclusion, ...]
    plot: Plot | None
    tables: tuple[Table, ...]
    others: str
    curves: tuple[Charts, ...]


@dataclass(frozen=True, kw_only=True)
class BenchView:
    """One bench; `subsets` counts the labelled images the arms were given."""

    bench: Bench
    subsets: Table
    results: tuple[Results, ...]


def bench_views(
    benches: Sequence[Bench],
    styles: Mapping[str, Style],
    families: Sequence[Sequence[Sequence[Family]]],
) -> list[BenchView]:
    """Every bench as it is shown.

    Args:
        benches: What was compared.
        styles: Arm -> style.
        families: For each bench and each of its comparisons, its paired differences.
    """
    names = unique_names(slug(bench.task.name, bench.store.name) for bench in benches)
    return [
        _view(bench, styles, name, paired)
        for bench, name, paired in zip(benches, names, families, strict=True)
    ]


def _view(
    bench: Bench, styles: Mapping[str, Style], name: str, families: Sequence[Sequence[Family]]
) -> BenchView:
    columns = [
        comparison.column(fraction, bench.metric)
        for comparison in bench.comparisons
        for fraction in comparison.fractions
    ]
    # One range for both protocols; none when nothing was scored.
    limits = score_limits(columns) if any(columns) else None
    protocols = unique_names(slug(one.protocol) for one in bench.comparisons)
    return BenchView(
        bench=bench,
        subsets=subset_table(bench, name),
        results=tuple(
            _results(bench, comparison, styles, limits, f"{name}-{protocol}", paired)
            for comparison, protocol, paired in zip(
                bench.comparisons, protocols, families, strict=True
            )
        ),
    )


def _results(
    bench: Bench,
    comparison: Comparison,
    styles: Mapping[str, Style],
    limits: tuple[float, float] | None,
    name: str,
    families: Sequence[Family],
) -> Results:
    columns = {one: comparison.column(one, bench.metric) for one in comparison.fractions}
    drawn = {one: column for one, column in columns.items() if column}
    scored = [
        metric
        for metric in bench.metrics
        if any(comparison.column(one, metric) for one in comparison.fractions)
    ]
    files = unique_names(f"{name}-{slug(metric)}" for metric in scored)
    return Results(
        protocol=comparison.protocol,
        conclusions=tuple(conclusions(bench, comparison, families)),
        plot=_picture(bench, comparison, drawn, styles, limits, name) if limits and drawn else None,
        tables=tuple(
            _table(bench, comparison, metric, file)
            for metric, file in zip(scored, files, strict=True)
        ),
        others=", ".join(metric_name(metric) for metric in scored[1:]),
        curves=tuple(finetune_charts(comparison, styles, f"{name}-training")),
    )


def _picture(
    bench: Bench,
    comparison: Comparison,
    columns: Mapping[float, Mapping[str, Summary]],
    styles: Mapping[str, Style],
    limits: tuple[float, float],
    name: str,
) -> Plot:
    metric, protocol = metric_name(bench.metric), protocol_name(comparison.protocol)
    return score_figure(
        columns,
        styles,
        limits,
        name=f"{name}-scores",
        title=f"{sentence(metric)}. {protocol}",
        alt=f"{metric} against the labelled share of the training images, {protocol}: "
        f"{bench.where}; the numbers are in the table of the same "
        "protocol.",
    )


def _table(bench: Bench, comparison: Comparison, metric: str, name: str) -> Table:
    columns = {one: comparison.column(one, metric) for one in comparison.fractions}
    better = "less" if metric in LOWER_IS_BETTER else "more"
    tested = counted(bench.test_patients, "test patient")
    return Table(
        name=name,
        caption=f"{sentence(metric_name(metric))} on {tested}, {better} is better: "
        f"{bench.under(comparison)}",
        heads=(Cell(text="Arm"), *(_head(comparison, one) for one in comparison.fractions)),
        rows=tuple(
            (
                Cell(text=arm, arm=arm),
                *(_cell(column, arm, metric) for column in columns.values()),
            )
            for arm in comparison.arms
        ),
    )


def _head(comparison: Comparison, fraction: float) -> Cell:
    runs = comparison.at(fraction)
    images = span(run.subset_images for run in runs)
    patients = span(run.subset_patients for run in runs)
    note = f"{images} images, {patients} patients"
    return Cell(text=f"{percent(fraction)} of labels", notes=(note,))


def _cell(column: Mapping[str, Summary], arm: str, metric: str) -> Cell:
    summary = column.get(arm)
    if summary is None:
        return Cell(text="no score")
    notes = [] if summary.interval else ["no interval recorded"]
    if summary.spread is not None:
        if summary.interval and not summary.of_mean:
            notes.append("interval of the median seed")
        ends = interval_text((summary.seeds[0], summary.seeds[-1]))
        notes.append(f"{len(summary.seeds)} seeds: sd {score_text(summary.spread)}, {ends}")
    return Cell(
        text=score_text(summary.value),
        number=summary.value,
        interval=summary.interval,
        notes=tuple(notes),
        best=arm in best(column, metric),
    )
