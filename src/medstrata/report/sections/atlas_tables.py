"""The atlas in numbers: spectra of the features, and what the nearest neighbours share."""

from collections.abc import Sequence

from medstrata.report.compare.places import Place
from medstrata.report.read.layer_runs import Atlas
from medstrata.report.render.formatting import interval_text, score_text, span
from medstrata.report.render.stage_figures import Curves, Point
from medstrata.report.render.tables import Cell, Table, text_cells


def spectrum_curves(place: Place[Atlas], stages: Sequence[str], key: str) -> Curves:
    """One quantity of the spectrum over the stages: the mean over seeds, and each seed.

    Args:
        place: Runs that can be compared.
        stages: In order.
        key: `effective_rank` or `rankme`.
    """

    def point(runs: Sequence[Atlas], stage: str) -> Point | None:
        seeds = sorted(getattr(run.spectrum[stage], key) for run in runs if stage in run.spectrum)
        if not seeds:
            return None
        # 0, when all images look alike, has no place on a logarithmic axis: it stands at 1.
        seeds = [max(seed, 1.0) for seed in seeds]
        return Point(value=sum(seeds) / len(seeds), bar=None, seeds=tuple(seeds))

    return {arm: [point(runs, stage) for stage in stages] for arm, runs in place.runs.items()}


def spectrum_table(place: Place[Atlas], stages: Sequence[str], name: str) -> Table:
    """Effective rank, RankMe, norm and spread: an arm a row, a stage a column."""
    rows = [
        (Cell(text=arm, arm=arm), *(_spectrum(runs, stage) for stage in stages))
        for arm, runs in place.runs.items()
    ]
    return Table(
        name=name,
        caption=f"Effective rank of the features of each stage, means over seeds: {place.where}",
        heads=text_cells("Arm", *stages),
        rows=tuple(rows),
        note="Neither rank can exceed the number of dimensions, nor the number of images it was "
        "taken over. Norm: mean length of the features. Spread: how far images lie apart, relative "
        "to the features' own size; 0 when all look alike.",
    )


def _spectrum(runs: Sequence[Atlas], stage: str) -> Cell:
    found = [run.spectrum[stage] for run in runs if stage in run.spectrum]
    if not found:
        return Cell(text="not measured")
    mean = {
        key: sum(getattr(one, key) for one in found) / len(found)
        for key in ("effective_rank", "rankme", "feature_norm", "spread")
    }
    dimensions = span(one.dimensions for one in found)
    notes = (
        f"of {dimensions} dimensions",
        f"RankMe {mean['rankme']:.1f}",
        f"norm {mean['feature_norm']:.3g}, spread {mean['spread']:.3g}",
    )
    return Cell(text=f"{mean['effective_rank']:.1f}", number=mean["effective_rank"], notes=notes)


def agreement_table(place: Place[Atlas], name: str) -> Table:
    """Shares of the nearest neighbours with the same label and the same patient, beside chance."""
    shares = {
        "label": "Same label",
        "label_other_patients": "Same label, other patients only",
        "patient": "Same patient",
    }
    rows = []
    for arm, runs in place.runs.items():
        cells = [
            _agreement([run.agreement[key] for run in runs if key in run.agreement])
            for share in shares
            for key in (share, f"{share}_chance")
        ]
        rows.append((Cell(text=arm, arm=arm), *cells))
    k = span(run.k for run in place.every)
    return Table(
        name=name,
        caption=f"Share of the {k} nearest neighbours with the label and the patient of the image "
        f"itself: {place.where}",
        heads=text_cells(
            "Arm", *(head for title in shares.values() for head in (title, "By chance"))
        ),
        rows=tuple(rows),
        note="Nearest by the cosine of the pooled features. By chance: what neighbours drawn at "
        "random would share. Images of one patient are alike and share their label without any "
        "medicine: among other patients only tells what is left without them.",
    )


def _agreement(seeds: Sequence[float]) -> Cell:
    if not seeds:
        return Cell(text="not recorded")
    mean = sum(seeds) / len(seeds)
    # A chance may be the same for every seed.
    several = max(seeds) > min(seeds)
    notes = (f"{len(seeds)} seeds: {interval_text((min(seeds), max(seeds)))}",)
    return Cell(text=score_text(mean), number=mean, notes=notes if several else ())
