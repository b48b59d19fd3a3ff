"""The report: one self-contained HTML file made of run folders alone."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medstrata.report.compare.compare import arm_order, benches, without_duplicates
from medstrata.report.compare.conclusions import headline
from medstrata.report.compare.gaps import gaps
from medstrata.report.read.facts import RunFiles
from medstrata.report.read.runs import Collection, Finetune, Pretrain, collect
from medstrata.report.render import formatting
from medstrata.report.render.contents import Contents
from medstrata.report.render.exports import check_folder, write_files
from medstrata.report.render.figures import Style, arm_styles, swatch
from medstrata.report.sections.audits import audits
from medstrata.report.sections.curves import pretrain_charts, read
from medstrata.report.sections.gather import gather
from medstrata.report.sections.inventory import data_table, machines, pretrain_table
from medstrata.report.sections.layers import layer_sections
from medstrata.report.sections.results import bench_views
from medstrata.report.sections.views import read_views
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text


def write_report(
    runs: Sequence[Path | str],
    to: Path | str,
    title: str = "Low-label evaluation",
    *,
    files: bool = True,
) -> Path:
    """Write one self-contained HTML page about runs, and its tables and figures as files.

    The page loads nothing from outside; its one script sorts tables and hides arms. Everything in
    it is computed from the run folders; what is missing or broken there is named in it. Beside
    `report.html` the folder `report-files` takes every table (CSV, LaTeX) and every figure (PDF,
    PNG); of an earlier report's files, those that are no longer made are removed.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.
        to: The file to write; replaced whole or not at all.
        title: Heading of the page.
        files: Whether tables and figures are written beside the page.

    Returns:
        The file written.

    Raises:
        MedstrataError: no run is in the given folders, `to` is a folder, or the folder for the
            files holds something else.
    """
    to = Path(to)
    if to.is_dir():
        raise MedstrataError(f"{to} is a folder; give the file to write, such as {to}/report.html")
    folder = to.with_name(f"{to.stem}-files") if files else None
    collection = collect([Path(run) for run in runs])
    if folder is not None:
        check_folder(folder)
    contents = Contents(folder=folder.name if folder else None)
    labels = _labels(collection)
    styles = arm_styles(arm_order(set(labels.values())))
    page = _render(collection, title, labels, styles, contents)
    to.parent.mkdir(parents=True, exist_ok=True)
    if folder is not None:
        write_files(folder, contents, styles)
    write_text(to, page)
    return to


def _render(
    collection: Collection,
    title: str,
    labels: Mapping[tuple[str, str], str],
    styles: Mapping[str, Style],
    contents: Contents,
) -> str:
    kept, duplicates = without_duplicates(collection.finetune)
    found = benches(kept, labels)
    views, unseen = read_views(collection.pretrain)
    finished: tuple[Pretrain | Finetune, ...] = (*collection.pretrain, *collection.finetune)
    everything = [run.files for run in collection.every]
    evidence = gather(found, collection.pretrain, styles)
    layers = layer_sections(collection, found, labels, styles)
    audited, unaudited = audits([(run.store.name, run.files) for run in finished])
    script = resources.files("medstrata.report").joinpath("templates/report.js").read_text("utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            contents=contents,
            script=Markup(script),  # noqa: S704  (our own file)
            script_source=_script_source(script),
            days=_days(everything),
            collection=collection,
            several_seeds=len({run.seed for run in kept}) > 1,
            labels=labels,
            headline=headline(found, evidence.families),
            benches=bench_views(found, styles, evidence.families),
            data=data_table(found),
            symbols=[swatch(style) for style in styles.values()],
            symbol_of={arm: style.tag for arm, style in styles.items()},
            pretrain_table=pretrain_table(collection.pretrain, labels),
            pretrain_charts=pretrain_charts(collection.pretrain, labels, styles),
            warnings=[(run, _warnings(run)) for run in collection.pretrain if _warnings(run)],
            views=views,
            evidence=evidence.sections,
            layers=layers,
            audits=audited,
            machines=machines(everything),
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
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("medstrata.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "bracketed": formatting.bracketed,
        "metric": formatting.metric_name,
        "protocol": formatting.protocol_name,
        "kind": formatting.kind_name,
        "listed": formatting.listed,
        "sentence": formatting.sentence,
    }
    environment.globals["counted"] = formatting.counted
    return environment


def _script_source(script: str) -> str:
    """What lets a browser run this script and no other."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _labels(collection: Collection) -> dict[tuple[str, str], str]:
    """(arm, backbone) -> the arm's name, with its backbone wherever there are several."""
    pairs = {(run.arm, run.backbone) for run in collection.every}
    several = len({backbone for _, backbone in pairs}) > 1
    return {(arm, backbone): f"{arm} ({backbone})" if several else arm for arm, backbone in pairs}


def _days(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """First and last day on which a run was started."""
    days = sorted({str(run.environment["date"])[:10] for run in runs if "date" in run.environment})
    return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()


def _warnings(run: Pretrain) -> list[tuple[int, str]]:
    """Epoch, counted from 1, and what the monitors said."""
    return [
        (int(read(record, "epoch") or 0) + 1, str(message))
        for record in run.files.epochs
        for message in record.get("warnings") or ()
    ]
