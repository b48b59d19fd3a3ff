"""The test images that classifiers were most wrong about, as their runs have drawn them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import TUNED, Finetune
from medstrata.report.render.formatting import percent
from medstrata.report.render.inline_images import UNREADABLE, inline_image, open_png
from medstrata.report.render.parts import Sheet
from medstrata.report.sections.decisions import Shown, ShownCells
from medstrata.report.sections.section import Section, headed_parts

_LEAD = (
    "The test images whose truth was given the least probability, one a patient, worst first; "
    "beneath each its true class or label, and the probability given to it. A wrong label is found "
    "among these as well as a weak network. These are images of the data set: share the report "
    "only where you may share them; report --no_images leaves them out."
)
_SALIENCY = (
    "Colour in the second row: what argued for the wrong answer (integrated gradients, smoothed). "
    "It shows what moved this network, not what is ill. "
)


def wrong_images_section(comparisons: Sequence[Comparison[Finetune]], shown: Shown) -> Section:
    """Of every comparison the best arm and a baseline, few labels and all."""
    notes: list[ReportNote] = []
    parts = headed_parts(comparisons, lambda one: _sheets(one, shown[one.name], notes))
    title, short = "Images that are most wrong", "Wrong images"
    return Section(
        anchor="wrong-images", title=title, short=short, lead=_LEAD, parts=parts, notes=notes
    )


def _sheets(
    comparison: Comparison[Finetune], shown: ShownCells, notes: list[ReportNote]
) -> Iterator[Sheet]:
    arms, fractions = shown
    for fraction in fractions:
        for arm in arms:
            run = _median_run(comparison, comparison.at(fraction).get(arm, ()))
            if run is None:
                continue
            try:
                sheet = inline_image(open_png(_path(run).read_bytes()))
            except UNREADABLE:
                notes.append(ReportNote(what=run.files.name, why="wrong_images.png cannot be read"))
                continue
            share = f"{percent(fraction)} of the labels"
            yield Sheet(
                image=sheet,
                alt=f"Test images that {arm} with {share} is most wrong about.",
                caption=f"{arm} with {share}: the run with the median score, {run.files.name}. "
                f"{_SALIENCY if run.saliency else ''}",
                css_class="sheet",
            )


def _path(run: Finetune) -> Path:
    return run.files.folder / "wrong_images.png"


def _median_run(comparison: Comparison[Finetune], runs: Sequence[Finetune]) -> Finetune | None:
    """Of those with a sheet; the lower of the middle two."""
    scored = [
        (score.value, run.files.name, run)
        for run in runs
        if _path(run).is_file() and (score := run.score(comparison.metric, TUNED)) is not None
    ]
    return sorted(scored, key=lambda one: one[:2])[(len(scored) - 1) // 2][2] if scored else None
