"""The report: one self-contained HTML file made of run folders alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medstrata.errors import MedstrataError
from medstrata.files import write_text
from medstrata.report import words
from medstrata.report.audits import audits
from medstrata.report.collect import Collection, Finetune, Pretrain, collect
from medstrata.report.compare import (
    ERRORS,
    Bench,
    Comparison,
    Summary,
    arm_order,
    benches,
    best,
    without_duplicates,
)
from medstrata.report.curves import Charts, finetune_charts, pretrain_charts, read
from medstrata.report.differences import Family
from medstrata.report.evidence import gather
from medstrata.report.facts import RunFiles
from medstrata.report.figures import Style, score_figure, score_limits, styles, swatch
from medstrata.report.findings import Finding, findings, headline
from medstrata.report.gaps import gaps
from medstrata.report.layer_sections import layer_sections
from medstrata.report.views import read_views


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry of a results table."""

    summary: Summary | None
    best: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """Arms x label fractions for one metric; `heads` is (fraction, images, patients)."""

    metric: str
    less_is_better: bool
    heads: tuple[tuple[float, str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """One protocol of one bench as it is shown."""

    protocol: str
    findings: tuple[Finding, ...]
    figure: Markup | None
    tables: tuple[Table, ...]
    curves: tuple[Charts, ...]


@dataclass(frozen=True, kw_only=True)
class BenchView:
    """One bench as it is shown; `subsets` is (fraction, images, patients, count per class)."""

    bench: Bench
    classes: tuple[str, ...]
    subsets: tuple[tuple[float, str, str, tuple[str, ...]], ...]
    results: tuple[Results, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Runs that share an environment."""

    runs: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def write_report(
    runs: Sequence[Path | str], to: Path | str, title: str = "Low-label evaluation"
) -> Path:
    """Write one self-contained HTML page about runs.

    The page loads nothing from outside and runs no script. Everything in it is computed from the
    run folders; what is missing or broken there is named in it.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.
        to: The file to write; replaced whole or not at all.
        title: Heading of the page.

    Returns:
        The file written.

    Raises:
        MedstrataError: no run is in the given folders, or `to` is a folder.
    """
    to = Path(to)
    if to.is_dir():
        raise MedstrataError(f"{to} is a folder; give the file to write, such as {to}/report.html")
    page = _render(collect([Path(run) for run in runs]), title)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_text(to, page)
    return to


def _render(collection: Collection, title: str) -> str:
    labels = _labels(collection)
    looks = styles(arm_order(set(labels.values())))
    kept, duplicates = without_duplicates(collection.finetune)
    found = benches(kept, labels)
    views, unseen = read_views(collection.pretrain)
    evidence = gather(found, collection.pretrain, looks)
    shown = [
        _bench_view(bench, looks, f"bench{i}", evidence.families[i])
        for i, bench in enumerate(found)
    ]
    finished: tuple[Pretrain | Finetune, ...] = (*collection.pretrain, *collection.finetune)
    everything = [run.files for run in finished]
    audited, unaudited = audits([(run.store.name, run.files) for run in finished])
    layers = layer_sections(collection, found, labels, looks)
    environment = Environment(
        loader=PackageLoader("medstrata.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "score": words.score_text,
        "interval": words.interval_text,
        "bracketed": words.bracketed,
        "metric": words.metric_name,
        "protocol": words.protocol_name,
        "kind": words.kind_name,
        "duration": words.duration,
        "listed": words.listed,
    }
    environment.globals["counted"] = words.counted
    return environment.get_template("report.html.j2").render(
        title=title,
        days=_days(everything),
        collection=collection,
        several_seeds=len({run.seed for run in kept}) > 1,
        labels=labels,
        headline=headline(found, evidence.families),
        benches=shown,
        symbols=[swatch(look, f"arm{i}") for i, look in enumerate(looks.values())],
        symbol_of={arm: f"arm{i}" for i, arm in enumerate(looks)},
        pretrain=[_pretrain_row(run) for run in collection.pretrain],
        pretrain_charts=pretrain_charts(collection.pretrain, labels, looks),
        warnings=[(run, _warnings(run)) for run in collection.pretrain if _warnings(run)],
        views=views,
        evidence=evidence.sections,
        layers=layers,
        audits=audited,
        machines=_machines(everything),
        notes=[
            *collection.notes,
            *duplicates,
            *unseen,
            *unaudited,
            *gaps(collection, found, labels),
            *evidence.notes,
            *layers.notes,
        ],
    )


def _labels(collection: Collection) -> dict[tuple[str, str], str]:
    """(arm, backbone) -> the arm's name, with its backbone wherever there are several."""
    pairs = {(run.arm, run.backbone) for run in collection.every}
    several = len({backbone for _, backbone in pairs}) > 1
    return {(arm, backbone): f"{arm} ({backbone})" if several else arm for arm, backbone in pairs}


def _days(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """First and last day on which a run was started."""
    days = sorted({str(run.environment["date"])[:10] for run in runs if "date" in run.environment})
    return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()


def _bench_view(
    bench: Bench,
    looks: Mapping[str, Style],
    name: str,
    families: Sequence[Sequence[Family]],
) -> BenchView:
    columns = [
        comparison.column(fraction, bench.metric)
        for comparison in bench.comparisons
        for fraction in comparison.fractions
    ]
    # One range for both protocols; none when nothing was scored.
    limits = score_limits(columns) if any(columns) else None
    runs = [
        run for one in bench.comparisons for fraction in one.fractions for run in one.at(fraction)
    ]
    classes = tuple(dict.fromkeys((*bench.task.classes, *chain(*(run.per_class for run in runs)))))
    return BenchView(
        bench=bench,
        classes=classes,
        subsets=tuple(
            _subset(fraction, [run for run in runs if run.fraction == fraction], classes)
            for fraction in sorted({run.fraction for run in runs})
        ),
        results=tuple(
            _results(bench, comparison, looks, limits, f"{name}-{i}", families[i])
            for i, comparison in enumerate(bench.comparisons)
        ),
    )


def _subset(
    fraction: float, runs: Sequence[Finetune], classes: Sequence[str]
) -> tuple[float, str, str, tuple[str, ...]]:
    images = words.span(run.subset_images for run in runs)
    patients = words.span(run.subset_patients for run in runs)
    per_class = (words.span(run.per_class.get(one, 0) for run in runs) for one in classes)
    return fraction, images, patients, tuple(per_class)


def _results(
    bench: Bench,
    comparison: Comparison,
    looks: Mapping[str, Style],
    limits: tuple[float, float] | None,
    name: str,
    families: Sequence[Family],
) -> Results:
    columns = {one: comparison.column(one, bench.metric) for one in comparison.fractions}
    drawn = {one: column for one, column in columns.items() if column}
    tables = (_table(comparison, metric) for metric in bench.metrics)
    return Results(
        protocol=comparison.protocol,
        findings=tuple(findings(bench, comparison, families)),
        figure=score_figure(drawn, looks, limits, name) if drawn and limits else None,
        tables=tuple(table for table in tables if table.rows),
        curves=tuple(finetune_charts(comparison, looks, name)),
    )


def _table(comparison: Comparison, metric: str) -> Table:
    columns = {one: comparison.column(one, metric) for one in comparison.fractions}
    heads = [(one, *(_subset(one, comparison.at(one), ())[1:3])) for one in comparison.fractions]
    rows = [
        (
            arm,
            tuple(
                Cell(summary=column.get(arm), best=arm in best(column, metric))
                for column in columns.values()
            ),
        )
        for arm in comparison.arms
    ]
    return Table(
        metric=metric,
        less_is_better=metric in ERRORS,
        heads=tuple(heads),
        rows=tuple(rows) if any(columns.values()) else (),
    )


def _pretrain_row(run: Pretrain) -> tuple[Pretrain, Mapping[str, Any] | None]:
    """A run and its last k-NN reading."""
    readings = [one["knn"] for one in run.files.epochs if read(one, "knn", "value") is not None]
    return run, readings[-1] if readings else None


def _warnings(run: Pretrain) -> list[tuple[int, str]]:
    """Epoch, counted from 1, and what the monitors said."""
    return [
        (int(read(record, "epoch") or 0) + 1, str(message))
        for record in run.files.epochs
        for message in record.get("warnings") or ()
    ]


def _machines(runs: Sequence[RunFiles]) -> list[Machine]:
    same: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if run.environment:
            facts = tuple(_flat({k: v for k, v in run.environment.items() if k != "date"}))
            same.setdefault(facts, []).append(run.name)
    return [Machine(runs=tuple(names), facts=facts) for facts, names in same.items()]


def _flat(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}: {inner}", text) for inner, text in _flat(value)]
        elif value is not None:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return rows
