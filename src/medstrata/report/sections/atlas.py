"""The atlas of features: collapse and spectrum, nearest neighbours, and maps in two dimensions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare.places import Place, shown_stages, stage_marks, stages_named
from medstrata.report.read.facts import Note
from medstrata.report.read.layer_runs import Atlas
from medstrata.report.render.figures import Plot, Style
from medstrata.report.render.formatting import counted, listed, slug
from medstrata.report.render.inline_images import UNREADABLE, InlineImage, inline_image, open_png
from medstrata.report.render.stage_figures import Ground, stage_figure
from medstrata.report.render.tables import Table, unique_names
from medstrata.report.sections.atlas_map import (
    LIMIT,
    Colouring,
    Points,
    colouring,
    map_figure,
    read_points,
)
from medstrata.report.sections.atlas_tables import agreement_table, spectrum_curves, spectrum_table

_COLUMNS = {"label": "label", "patient_id": "patient", "site": "site"}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Neighbours of some images as one arm finds them; `sentences` counts what they share."""

    arm: str
    seed: int
    sheet: InlineImage
    sentences: str


@dataclass(frozen=True, kw_only=True)
class MapView:
    """The maps of all arms under one colouring; `key` is (colour, name, images)."""

    by: str
    key: tuple[tuple[str, str, int], ...]
    plots: tuple[tuple[str, Plot], ...]


@dataclass(frozen=True, kw_only=True)
class AtlasView:
    """One task on one store."""

    where: str
    images: int
    arms: tuple[str, ...]
    stages: str
    spectra: tuple[Plot, ...]
    spectrum: Table
    agreement: Table
    sheets: tuple[Sheet, ...]
    maps: tuple[MapView, ...]
    method: str
    drawn: int


def atlas_view(
    place: Place[Atlas], styles: Mapping[str, Style], name: str
) -> tuple[AtlasView, list[Note]]:
    """Everything about one place, and a note for each picture or map that cannot be read.

    Args:
        place: Runs that can be compared.
        styles: Arm -> style.
        name: Begins the names of pictures and tables.
    """
    known = [run.spectrum for run in place.every]
    stages = shown_stages(known)
    # Neighbours and maps are looked at, not averaged: the first seed stands for its arm.
    first = {arm: runs[0] for arm, runs in place.runs.items()}
    read = {arm: read_points(run) for arm, run in first.items()}
    points = {arm: one for arm, one in read.items() if isinstance(one, Points)}
    notes = [one for one in read.values() if isinstance(one, Note)]
    sheets = [_sheet(arm, run) for arm, run in first.items()]
    view = AtlasView(
        where=place.where,
        images=max(run.images for run in place.every),
        arms=tuple(place.runs),
        stages=stages_named(known),
        spectra=tuple(_spectra(place, stages, styles, name)),
        spectrum=spectrum_table(place, stages, f"{name}-spectrum"),
        agreement=agreement_table(place, f"{name}-neighbours"),
        sheets=tuple(one for one in sheets if isinstance(one, Sheet)),
        maps=tuple(_maps(place, points, name)),
        method=listed(sorted({first[arm].method for arm in points})),
        drawn=min(LIMIT, max((len(one.places) for one in points.values()), default=0)),
    )
    return view, [*notes, *(one for one in sheets if isinstance(one, Note))]


def _spectra(
    place: Place[Atlas], stages: Sequence[str], styles: Mapping[str, Style], name: str
) -> list[Plot]:
    ceiling: list[float | None] = [
        max(
            (
                min(one.dimensions, one.images)
                for run in place.every
                if (one := run.spectrum.get(s))
            ),
            default=None,
        )
        for s in stages
    ]
    return [
        stage_figure(
            spectrum_curves(place, stages, key),
            stage_marks(stages),
            styles,
            name=f"{name}-{key.replace('_', '-')}",
            title=title,
            alt=f"{title} over the stages, one curve an arm; the numbers are in the table.",
            ground=Ground(line=ceiling),
            log=True,
        )
        for key, title in (("effective_rank", "Effective rank"), ("rankme", "RankMe"))
    ]


def _sheet(arm: str, run: Atlas) -> Sheet | Note:
    path = run.files.folder / "neighbours.png"
    if not path.is_file():
        return Note(what=run.files.name, why="no neighbours.png: its neighbours are not shown")
    try:
        sheet = inline_image(open_png(path.read_bytes()))
    except UNREADABLE:
        why = "neighbours.png cannot be read: its neighbours are not shown"
        return Note(what=run.files.name, why=why)
    return Sheet(arm=arm, seed=run.seed, sheet=sheet, sentences=_shared(run))


def _shared(run: Atlas) -> str:
    """How many of the neighbours shown share the label and the patient of their query."""
    label = Counter(one for query in run.queries for one in query.same_label)
    patient = Counter(one for query in run.queries for one in query.same_patient)
    whole = f"Of {counted(label.total(), 'neighbour')} of {counted(len(run.queries), 'image')}, "
    unknown = f" ({label[None]} unlabelled)" if label[None] else ""
    return f"{whole}{label[True]} share the label{unknown} and {patient[True]} the patient."


def _maps(place: Place[Atlas], points: Mapping[str, Points], name: str) -> list[MapView]:
    maps = list(points.values())
    if not maps:
        return []
    labels = colouring("label", maps, place.task.classes)
    sites = {one for each in maps for one in each.columns["site"]} - {None}
    other = colouring("site" if len(sites) > 1 else "patient_id", maps)
    return [_map_view(points, colours, f"{name}-map") for colours in (labels, other)]


def _map_view(points: Mapping[str, Points], colours: Colouring, name: str) -> MapView:
    by = _COLUMNS[colours.column]
    names = [one for _, _, one, _ in colours.entries if one is not None]
    files = unique_names(slug(arm) for arm in points)
    unnamed = "other or unknown" if names else "unknown"
    # The report may be passed on: it counts patients rather than name them.
    alias = {one: f"patient {i + 1}" if by == "patient" else one for i, one in enumerate(names)}
    return MapView(
        by=by,
        key=tuple(
            (page, unnamed if one is None else alias[one], number)
            for _, page, one, number in colours.entries
        ),
        plots=tuple(
            (
                arm,
                map_figure(
                    one,
                    colours,
                    name=f"{name}-{by}-{file}",
                    title=arm,
                    alt=f"Map of {counted(len(one.places), 'image')} as {arm} sees them, coloured "
                    f"by {by}.",
                ),
            )
            for (arm, one), file in zip(points.items(), files, strict=True)
        ),
    )
