"""The atlas in numbers: spectra of the features, and what the nearest neighbours share."""

from collections import Counter
from collections.abc import Mapping, Sequence

from medstrata.report.atlas_map import Points
from medstrata.report.collect_layers import Atlas
from medstrata.report.places import Place
from medstrata.report.stage_figures import Curves, Point
from medstrata.report.tables import DataTable, Entry
from medstrata.report.words import interval_text, percent, score_text, span


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
        return Point(value=sum(seeds) / len(seeds), bar=None, seeds=tuple(seeds))

    return {arm: [point(runs, stage) for stage in stages] for arm, runs in place.runs.items()}


def spectrum_table(place: Place[Atlas], stages: Sequence[str], name: str) -> DataTable:
    """Effective rank, RankMe, norm and spread: an arm a row, a stage a column."""
    rows = [
        (Entry(text=arm, arm=arm), *(_spectrum(runs, stage) for stage in stages))
        for arm, runs in place.runs.items()
    ]
    return DataTable(
        name=name,
        caption=f"Effective rank of the features of each stage, means over seeds: {place.where}",
        heads=tuple(Entry(text=head) for head in ("Arm", *stages)),
        rows=tuple(rows),
        note="Neither rank can exceed the number of dimensions, nor the number of images it was "
        "taken over. Norm: mean length of the features. Spread: how far they lie from their mean.",
    )


def _spectrum(runs: Sequence[Atlas], stage: str) -> Entry:
    found = [run.spectrum[stage] for run in runs if stage in run.spectrum]
    if not found:
        return Entry(text="not measured")
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
    return Entry(text=f"{mean['effective_rank']:.1f}", number=mean["effective_rank"], notes=notes)


def agreement_table(place: Place[Atlas], points: Mapping[str, Points], name: str) -> DataTable:
    """Shares of the nearest neighbours with the same label and the same patient, beside chance."""
    rows = []
    for arm, runs in place.runs.items():
        label = [run.label_agreement for run in runs if run.label_agreement is not None]
        patient = [run.patient_agreement for run in runs if run.patient_agreement is not None]
        of = points.get(arm)
        rows.append(
            (
                Entry(text=arm, arm=arm),
                _agreement(label),
                _chance(of.columns["label"] if of else ()),
                _agreement(patient),
                _chance(of.columns["patient_id"] if of else ()),
            )
        )
    k = span(run.k for run in place.every)
    heads = ("Arm", "Same label", "By chance", "Same patient", "By chance")
    return DataTable(
        name=name,
        caption=f"Share of the {k} nearest neighbours with the label and the patient of the image "
        f"itself: {place.where}",
        heads=tuple(Entry(text=head) for head in heads),
        rows=tuple(rows),
        note="By chance: the share among all pairs of different images of the map. A patient's "
        "images usually share the label too, so the label agreement of images whose neighbours "
        "are the same patient's says little about other patients.",
    )


def _agreement(seeds: Sequence[float]) -> Entry:
    if not seeds:
        return Entry(text="not measured")
    mean = sum(seeds) / len(seeds)
    several = (f"{len(seeds)} seeds: {interval_text((min(seeds), max(seeds)))}",)
    return Entry(text=score_text(mean), number=mean, notes=several if len(seeds) > 1 else ())


def _chance(values: Sequence[str | None]) -> Entry:
    counts = Counter(one for one in values if one is not None)
    images = counts.total()
    if images < 2:
        return Entry(text="not known")
    share = sum(n * (n - 1) for n in counts.values()) / (images * (images - 1))
    return Entry(text=score_text(share) if share >= 5e-4 else percent(share), number=share)
