"""The report: one self-contained HTML file made of run folders alone."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medstrata.report.compare.comparison import (
    Comparison,
    arm_order,
    comparisons,
    group_by_task,
)
from medstrata.report.compare.differences import (
    ContrastFamily,
    all_baselines,
    paired_differences,
)
from medstrata.report.compare.gaps import layer_gaps, prediction_gaps, score_gaps
from medstrata.report.read.facts import ReportNote, Run, RunFiles
from medstrata.report.read.results import Atlas, Finetune, Pretrain, Probe, Reuse
from medstrata.report.read.runs import Collection, collect
from medstrata.report.render.contents import Contents
from medstrata.report.render.exports import check_folder, write_files
from medstrata.report.render.figures import Style, arm_styles, swatch
from medstrata.report.render.formatting import bracketed, counted
from medstrata.report.render.parts import Heading, Pictures
from medstrata.report.sections.ablation import ablation_section
from medstrata.report.sections.atlas import atlas_section
from medstrata.report.sections.audits import audits_section
from medstrata.report.sections.calibration import calibration_section
from medstrata.report.sections.cautions import Caution, cautions
from medstrata.report.sections.decisions import decisions_section, shown_arms
from medstrata.report.sections.differences import differences_section
from medstrata.report.sections.efficiency import efficiency_section
from medstrata.report.sections.headline import compared_first, headline, without_scores
from medstrata.report.sections.inventory import data_section, environments
from medstrata.report.sections.ks_distance import ks_section
from medstrata.report.sections.legacy import legacy_section
from medstrata.report.sections.mean_difference import gains_section
from medstrata.report.sections.more_labels import more_labels_section
from medstrata.report.sections.pretraining import pretraining_section
from medstrata.report.sections.probing import probing_section
from medstrata.report.sections.results import findings_section, results_section, score_figures
from medstrata.report.sections.reuse import reuse_section
from medstrata.report.sections.section import Section, without_images
from medstrata.report.sections.views import views_section
from medstrata.report.sections.wrong_images import wrong_images_section
from medstrata.runtime.console import progress_bar
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text


@dataclass(frozen=True, kw_only=True)
class _FirstScreen:
    """The answer, the figure it is read from, what could overturn it, and what else is to be said.

    `cautions` is None where there is no answer to be overturned.
    """

    answer: str
    rest: str = ""
    figure: Sequence[Pictures] = ()
    cautions: Sequence[Caution] | None = None


_KINDS: Mapping[type[Run], str] = {
    Finetune: "fine-tuning run",
    Pretrain: "pre-training run",
    Probe: "probe run",
    Reuse: "feature reuse run",
    Atlas: "atlas run",
}


def write_report(
    runs: Sequence[Path | str],
    to: Path | str,
    title: str = "Low-label evaluation",
    *,
    files: bool = True,
    figures: bool = False,
    baselines: Sequence[str] = (),
    images: bool = True,
) -> Path:
    """Write one self-contained HTML page about runs, and its tables as files.

    The page loads nothing from outside; its one script sorts tables and hides arms. Everything in
    it is computed from the run folders; what is missing or broken there is named in it. Beside
    `report.html` the folder `report-files` takes every table (CSV, LaTeX) and, where they are asked
    for, every figure (PDF, PNG); of an earlier report's files, those that are no longer made are
    removed.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.
        to: The file to write; replaced whole or not at all.
        title: Heading of the page.
        files: Whether tables are written beside the page.
        figures: Whether figures are too, which takes longer than all else.
        baselines: Arms that others are held against, beside scratch, imagenet and moco.
        images: Whether images of the data sets are shown: views, neighbours, wrong ones.

    Returns:
        The file written.

    Raises:
        MedstrataError: no run is in the given folders, `to` is a folder, the folder for the files
            holds something else, or no run is of a baseline.
    """
    to = Path(to)
    if to.is_dir():
        raise MedstrataError(f"{to} is a folder; give the file to write, such as {to}/report.html")
    folder = to.with_name(f"{to.stem}-files") if files else None
    collection = collect([Path(run) for run in runs])
    if folder is not None:
        check_folder(folder)
    contents = Contents(folder=folder.name if folder else None, figures=figures)
    styles = arm_styles(arm_order(run.label for run in collection.runs))
    shown = _sections(collection, styles, baselines, images=images)
    page = _render(collection, title, styles, contents, shown)
    to.parent.mkdir(parents=True, exist_ok=True)
    if folder is not None:
        write_files(folder, contents, styles)
    write_text(to, page)
    return to


def _render(
    collection: Collection,
    title: str,
    styles: Mapping[str, Style],
    contents: Contents,
    shown: tuple[_FirstScreen, list[Section], list[ReportNote]],
) -> str:
    first, sections, notes = shown
    files = [run.files for run in collection.runs]
    counts = [
        counted(len(runs), noun)
        for kind, noun in _KINDS.items()
        if (runs := collection.of(kind)) or kind in (Finetune, Pretrain)
    ]
    script = resources.files("medstrata.report").joinpath("templates/report.js").read_text("utf-8")
    environment = Environment(
        loader=PackageLoader("medstrata.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bracketed"] = bracketed
    environment.globals["counted"] = counted
    return environment.get_template("report.html.j2").render(
        title=title,
        contents=contents,
        script=Markup(script),  # noqa: S704  (our own file)
        script_source=_script_source(script),
        first=first,
        anchors={section.anchor for section in sections},
        counts=counts,
        days=_days(files),
        swatches=[swatch(style) for style in styles.values()],
        symbols={arm: style.tag for arm, style in styles.items()},
        sections=sections,
        notes=notes,
        settings={"Pre-training": collection.of(Pretrain), "Fine-tuning": collection.of(Finetune)},
        environments=environments(files),
    )


def _sections(
    collection: Collection, styles: Mapping[str, Style], baselines: Sequence[str], *, images: bool
) -> tuple[_FirstScreen, list[Section], list[ReportNote]]:
    """What is shown first, then in sections; and what is missing."""
    pretrain = collection.of(Pretrain)
    tuned, notes = comparisons(collection.of(Finetune))
    probes, probe_notes = comparisons(collection.of(Probe))
    reuses, reuse_notes = comparisons(collection.of(Reuse))
    atlases, atlas_notes = comparisons(collection.of(Atlas))
    held_against = all_baselines(tuned, baselines)
    paired = paired_differences(tuned, held_against)
    shown = {one.name: shown_arms(one, paired[one.name]) for one in tuned}
    makers: list[Callable[[], Section]] = []
    if tuned:
        makers += [
            lambda: findings_section(tuned, paired),
            lambda: data_section(tuned),
            lambda: results_section(tuned, styles),
        ]
    makers += [
        lambda: differences_section(tuned, paired, styles),
        lambda: decisions_section(tuned, shown, styles),
        lambda: gains_section(tuned, held_against),
        lambda: wrong_images_section(tuned, shown),
        lambda: more_labels_section(tuned, shown, styles),
        lambda: efficiency_section(tuned),
        lambda: ks_section(tuned, styles),
        lambda: calibration_section(tuned, styles),
        lambda: ablation_section(pretrain, tuned),
        lambda: legacy_section(tuned),
        lambda: probing_section(probes, styles),
        lambda: reuse_section(reuses, styles),
        lambda: atlas_section(atlases, styles),
        lambda: audits_section([*pretrain, *collection.of(Finetune)]),
    ]
    if pretrain:
        makers += [lambda: pretraining_section(pretrain, styles), lambda: views_section(pretrain)]
    with progress_bar() as bar:
        sections = [make() for make in bar.track(makers, description="computing sections")]
    layers: Mapping[str, Sequence[Comparison[Any]]] = {
        "layer-wise probing": probes,
        "feature reuse": reuses,
        "atlas": atlases,
    }
    notes = [
        *collection.notes,
        *(*notes, *probe_notes, *reuse_notes, *atlas_notes),
        *score_gaps(pretrain, tuned),
        *prediction_gaps(tuned, paired, held_against),
        *layer_gaps(layers, tuned),
        *(note for section in sections for note in section.notes),
    ]
    first = _FirstScreen(answer=without_scores(collection))
    if tuned:
        first = _first_screen(tuned, paired, styles)
    if not images:
        sections = [replace(one, parts=without_images(one.parts)) for one in sections]
    return first, [one for one in sections if _shows_something(one)], notes


def _shows_something(section: Section) -> bool:
    return any(not isinstance(part, Heading) for part in section.parts)


def _first_screen(
    tuned: Sequence[Comparison[Finetune]],
    paired: Mapping[str, Sequence[ContrastFamily]],
    styles: Mapping[str, Style],
) -> _FirstScreen:
    answer, rest = headline(tuned, paired)
    cell = compared_first(tuned)
    if cell is None:
        return _FirstScreen(answer=answer, rest=rest)
    (same,) = (one for one in group_by_task(tuned) if cell[0] in one)
    figure = list(score_figures(same, [cell[0]], styles))
    return _FirstScreen(answer=answer, rest=rest, figure=figure, cautions=cautions(tuned))


def _script_source(script: str) -> str:
    """What lets a browser run this script and no other."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _days(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """First and last day on which a run was started."""
    days = sorted({str(run.environment["date"])[:10] for run in runs if "date" in run.environment})
    return tuple(dict.fromkeys((days[0], days[-1]))) if days else ()
