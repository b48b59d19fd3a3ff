"""The atlas of features: collapse and spectrum, nearest neighbours, and maps in two dimensions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from markupsafe import Markup

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.stages import shown_stages, stage_marks, stages_named
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Atlas
from medstrata.report.render.figures import PAGE_COLOURS, PlotWords, Style
from medstrata.report.render.formatting import counted, listed, slug
from medstrata.report.render.inline_images import UNREADABLE, inline_image, open_png
from medstrata.report.render.parts import (
    Collapsible,
    ColourKey,
    Heading,
    Part,
    Pictures,
    Sheet,
    Text,
)
from medstrata.report.render.summary_figures import ReferenceBand, stage_figure
from medstrata.report.render.tables import unique_names
from medstrata.report.sections.atlas_map import (
    LIMIT,
    Colouring,
    MapPoints,
    colouring,
    map_figure,
    read_points,
)
from medstrata.report.sections.atlas_tables import agreement_table, spectrum_curves, spectrum_table
from medstrata.report.sections.section import Section, headed_parts

_COLUMNS = {"label": "label", "patient_id": "patient", "site": "site"}
_SPECTRUM = Markup(
    "<b>How to read it.</b> Both ranks count the directions that the features use: 1 when all "
    "images lie on one line, 0 when they are all the same, and at most the dashed line, the number "
    "of dimensions or of images. An arm that falls towards 1 at a stage where the others do not "
    "has collapsed there. More is not better by itself: noise uses every direction."
)
_MAPS = Markup(
    "<b>How to read them.</b> Each dot is an image; images with features alike lie near each "
    "other. The axes have no unit, the maps of two arms cannot be laid over each other, and a gap "
    "between far groups need not be a gap in the features ({}). Labels that part say that the "
    "encoder has found them unaided. <b>A shortcut</b> looks different: islands of one {} each, "
    "most of all islands that hold one label only. There the encoder knows whose or which "
    "machine's image it sees, and a classifier can score well on them without seeing the disease."
)


def atlas_section(comparisons: Sequence[Comparison[Atlas]], styles: Mapping[str, Style]) -> Section:
    """Everything about atlases, and a note for each picture or map that cannot be read."""
    notes: list[ReportNote] = []
    return Section(
        anchor="atlas",
        title="Atlas of the features",
        short="Atlas",
        lead="What the frozen encoders make of test images, before any label was used: how many "
        "directions their features spread over, which images they hold to be alike, and a map of "
        "all.",
        parts=headed_parts(comparisons, partial(_parts, styles=styles, notes=notes)),
        notes=notes,
    )


def _parts(
    comparison: Comparison[Atlas], styles: Mapping[str, Style], notes: list[ReportNote]
) -> Iterator[Part]:
    spectra = [run.spectrum for run in comparison.every]
    images = max(run.images for run in comparison.every)
    name = f"{comparison.place}-atlas"
    yield Text(f"{counted(images, 'image')}. {stages_named(spectra)}", "note")
    yield Heading("Collapse and spectrum", 4)
    yield Text(_SPECTRUM, "lead")
    yield _spectra(comparison, shown_stages(spectra), styles, name)
    yield spectrum_table(comparison, shown_stages(spectra), f"{name}-spectrum")
    yield Heading("Nearest neighbours", 4)
    yield agreement_table(comparison, f"{name}-neighbours")
    # Neighbours and maps are looked at, not averaged: the first seed stands for its arm.
    first = {arm: runs[0] for arm, runs in comparison.at(1.0).items()}
    maps = {arm: read_points(run) for arm, run in first.items()}
    points = {arm: one for arm, one in maps.items() if isinstance(one, MapPoints)}
    notes += [one for one in maps.values() if isinstance(one, ReportNote)]
    for arm, run in first.items():
        sheet = _sheet(run)
        if isinstance(sheet, ReportNote):
            notes.append(sheet)
        else:
            title = f"Neighbours as {arm} (seed {run.seed}) finds them"
            yield Collapsible(title=title, parts=[sheet], owner=arm)
    if points:
        method = listed(sorted({first[arm].map.method for arm in points}))
        yield from _maps(points, comparison.task.classes, method, images, f"{name}-map")


def _spectra(
    comparison: Comparison[Atlas], stages: Sequence[str], styles: Mapping[str, Style], name: str
) -> Pictures:
    spectra = [[run.spectrum.get(stage) for run in comparison.every] for stage in stages]
    ceiling = [max(min(one.dimensions, one.images) for one in column if one) for column in spectra]
    plots = []
    for key, title in (("effective_rank", "Effective rank"), ("rankme", "RankMe")):
        alt = f"{title} over the stages, one curve an arm; the numbers are in the table."
        words = PlotWords(f"{name}-{key.replace('_', '-')}", title, alt)
        curves = spectrum_curves(comparison, key)
        ground = ReferenceBand(line=ceiling)
        plots.append(stage_figure(curves, stage_marks(stages), styles, words, ground=ground))
    return Pictures(
        plots=plots,
        key=comparison.arms,
        caption="Effective rank (of centred features) and RankMe (of features as they are) of each "
        "stage, on a logarithmic scale. Filled markers: mean over seeds. Open circles: single "
        "seeds. Dashed: the most there can be. What is below 1 is drawn at 1.",
    )


def _sheet(run: Atlas) -> Sheet | ReportNote:
    path = run.files.folder / "neighbours.png"
    if not path.is_file():
        return ReportNote(
            what=run.files.name, why="no neighbours.png: its neighbours are not shown"
        )
    try:
        image = inline_image(open_png(path.read_bytes()))
    except UNREADABLE:
        why = "neighbours.png cannot be read: its neighbours are not shown"
        return ReportNote(what=run.files.name, why=why)
    shared = _shared(run)
    return Sheet(
        image=image,
        alt="Rows of thumbnails: an image, then its nearest neighbours by cosine similarity. "
        f"{shared}",
        caption=f"Each row: an image, then its nearest neighbours, the nearest first. {shared} "
        "These are images of the data set: share the report only where you may share them.",
        css_class="sheet",
    )


def _shared(run: Atlas) -> str:
    """How many of the neighbours shown share the label and the patient of their query."""
    neighbours = [one for query in run.neighbours.queries for one in query.neighbours]
    label = Counter(one.same_label for one in neighbours)
    patients = sum(bool(one.same_patient) for one in neighbours)
    images = counted(len(run.neighbours.queries), "image")
    unknown = f" ({label[None]} unlabelled)" if label[None] else ""
    return (
        f"Of {counted(len(neighbours), 'neighbour')} of {images}, {label[True]} share the label"
        f"{unknown} and {patients} the patient."
    )


def _maps(
    points: Mapping[str, MapPoints], classes: Sequence[str], method: str, images: int, name: str
) -> Iterator[Part]:
    """The maps of all arms, coloured by label and by what may be a shortcut."""
    maps = list(points.values())
    sites = {one for each in maps for one in each.columns["site"]} - {None}
    other = colouring("site" if len(sites) > 1 else "patient_id", maps)
    drawn = min(LIMIT, max(len(one.places) for one in maps))
    some = f" {counted(drawn, 'image')} of {images:,} are drawn." if drawn < images else ""
    yield Heading("Maps", 4)
    yield Text(_MAPS.format(method, _COLUMNS[other.column]), "lead")
    for colours in (colouring("label", maps, classes), other):
        yield _map(points, colours, name, some)


def _map(points: Mapping[str, MapPoints], colours: Colouring, name: str, some: str) -> Pictures:
    by = _COLUMNS[colours.column]
    names = [one for _, one, _ in colours.entries if one is not None]
    unnamed = "other or unknown" if names else "unknown"
    # The report may be passed on: it counts patients rather than name them.
    alias = {one: f"patient {i + 1}" if by == "patient" else one for i, one in enumerate(names)}
    plots = []
    for (arm, one), file in zip(points.items(), unique_names(map(slug, points)), strict=True):
        alt = f"Map of {counted(len(one.places), 'image')} as {arm} sees them, coloured by {by}."
        plots.append(map_figure(one, colours, PlotWords(f"{name}-{by}-{file}", arm, alt)))
    return Pictures(
        plots=plots,
        owners=list(points),
        layout="maps",
        colours=ColourKey(
            by=by,
            entries=[
                (PAGE_COLOURS.get(colour, colour), unnamed if one is None else alias[one], number)
                for colour, one, number in colours.entries
            ],
        ),
        caption=f"Maps coloured by {by}, one arm each. In brackets the images of each {by}; grey: "
        f"{by}s without a colour of their own, or none known.{some}",
    )
