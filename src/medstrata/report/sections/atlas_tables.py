"""The atlas in numbers: spectra of the features, and what the nearest neighbours share."""

from collections.abc import Sequence

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.stages import values_by_arm_and_stage
from medstrata.report.read.results import Atlas, Spectrum
from medstrata.report.render.formatting import span
from medstrata.report.render.run_summary import mean_summary
from medstrata.report.render.summary_figures import Curves
from medstrata.report.render.tables import Table, TableCell, arm_table, number_cell

_SHARES = {
    "label": "Same label",
    "label_other_patients": "Same label, other patients only",
    "patient": "Same patient",
}


def spectrum_curves(comparison: Comparison[Atlas], key: str) -> Curves:
    """One quantity of the spectrum over the stages: the mean over seeds, and each seed.

    Args:
        comparison: Of atlases.
        key: `effective_rank` or `rankme`.
    """
    # 0, when all images look alike, has no place on a logarithmic axis: it stands at 1.
    return {
        cell: mean_summary([max(getattr(one, key), 1.0) for one in seeds])
        for cell, seeds in _spectra(comparison).items()
    }


def _spectra(comparison: Comparison[Atlas]) -> dict[tuple[str, str], list[Spectrum]]:
    return values_by_arm_and_stage(comparison.at(1.0), lambda run: run.spectrum)


def spectrum_table(comparison: Comparison[Atlas], stages: Sequence[str], name: str) -> Table:
    """Effective rank, RankMe, norm and spread: an arm a row, a stage a column."""
    return arm_table(
        name,
        f"Effective rank of the features of each stage, means over seeds: {comparison.where}",
        comparison.arms,
        {stage: TableCell(stage) for stage in stages},
        {cell: _spectrum(seeds) for cell, seeds in _spectra(comparison).items()},
        missing="not measured",
        note="Neither rank can exceed the number of dimensions, nor the number of images it was "
        "taken over. Norm: mean length of the features. Spread: how far images lie apart, relative "
        "to the features' own size; 0 when all look alike.",
    )


def _spectrum(seeds: Sequence[Spectrum]) -> TableCell:
    mean = {
        key: sum(getattr(one, key) for one in seeds) / len(seeds)
        for key in ("effective_rank", "rankme", "feature_norm", "spread")
    }
    return number_cell(
        mean["effective_rank"],
        f"of {span(one.dimensions for one in seeds)} dimensions",
        f"RankMe {mean['rankme']:.1f}",
        f"norm {mean['feature_norm']:.3g}, spread {mean['spread']:.3g}",
        write="{:.1f}".format,
    )


def agreement_table(comparison: Comparison[Atlas], name: str) -> Table:
    """Shares of the nearest neighbours with the same label and the same patient, beside chance."""
    heads = {
        key: TableCell(head)
        for share, title in _SHARES.items()
        for key, head in ((share, title), (f"{share}_chance", "By chance"))
    }
    shares = values_by_arm_and_stage(comparison.at(1.0), lambda run: run.neighbours.agreement)
    k = span(run.neighbours.k for run in comparison.every)
    return arm_table(
        name,
        f"Share of the {k} nearest neighbours with the label and the patient of the image itself: "
        f"{comparison.where}",
        comparison.arms,
        heads,
        {cell: _agreement(seeds) for cell, seeds in shares.items()},
        missing="not recorded",
        note="Nearest by the cosine of the pooled features. By chance: what neighbours drawn at "
        "random would share. Images of one patient are alike and share their label without any "
        "medicine: among other patients only tells what is left without them.",
    )


def _agreement(seeds: Sequence[float]) -> TableCell:
    summary = mean_summary(seeds)
    # A chance may be the same for every seed.
    several = summary.runs[0] < summary.runs[-1]
    return number_cell(summary.value, *(summary.runs_notes(narrow=True) if several else ()))
