"""The atlas in numbers: spectra of the features, and what the nearest neighbours share."""

from collections.abc import Sequence

from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.results import Atlas
from medstrata.report.render.formatting import span
from medstrata.report.render.summary import mean_summary
from medstrata.report.render.summary_figures import Curves
from medstrata.report.render.tables import Cell, Column, Table, arm_table, number_cell

_SHARES = {
    "label": "Same label",
    "label_other_patients": "Same label, other patients only",
    "patient": "Same patient",
}


def spectrum_curves(comparison: Comparison[Atlas], stages: Sequence[str], key: str) -> Curves:
    """One quantity of the spectrum over the stages: the mean over seeds, and each seed.

    Args:
        comparison: Of atlases.
        stages: In order.
        key: `effective_rank` or `rankme`.
    """
    curves = {}
    for arm, runs in comparison.at(1.0).items():
        # 0, when all images look alike, has no place on a logarithmic axis: it stands at 1.
        found = [
            [max(getattr(run.spectrum[stage], key), 1.0) for run in runs if stage in run.spectrum]
            for stage in stages
        ]
        curves[arm] = [mean_summary(seeds) if seeds else None for seeds in found]
    return curves


def spectrum_table(comparison: Comparison[Atlas], stages: Sequence[str], name: str) -> Table:
    """Effective rank, RankMe, norm and spread: an arm a row, a stage a column."""
    at = comparison.at(1.0)
    columns = [
        Column(
            Cell(stage),
            {
                arm: _spectrum(runs, stage)
                for arm, runs in at.items()
                if any(stage in run.spectrum for run in runs)
            },
            "not measured",
        )
        for stage in stages
    ]
    return arm_table(
        name,
        f"Effective rank of the features of each stage, means over seeds: {comparison.where}",
        comparison.arms,
        columns,
        "Neither rank can exceed the number of dimensions, nor the number of images it was taken "
        "over. Norm: mean length of the features. Spread: how far images lie apart, relative to "
        "the features' own size; 0 when all look alike.",
    )


def _spectrum(runs: Sequence[Atlas], stage: str) -> Cell:
    found = [run.spectrum[stage] for run in runs if stage in run.spectrum]
    mean = {
        key: sum(getattr(one, key) for one in found) / len(found)
        for key in ("effective_rank", "rankme", "feature_norm", "spread")
    }
    return number_cell(
        mean["effective_rank"],
        f"of {span(one.dimensions for one in found)} dimensions",
        f"RankMe {mean['rankme']:.1f}",
        f"norm {mean['feature_norm']:.3g}, spread {mean['spread']:.3g}",
        write="{:.1f}".format,
    )


def agreement_table(comparison: Comparison[Atlas], name: str) -> Table:
    """Shares of the nearest neighbours with the same label and the same patient, beside chance."""
    heads = {
        key: head
        for share, title in _SHARES.items()
        for key, head in ((share, title), (f"{share}_chance", "By chance"))
    }
    columns = [
        Column(
            Cell(head),
            {
                arm: _agreement(seeds)
                for arm, runs in comparison.at(1.0).items()
                if (
                    seeds := [
                        one
                        for run in runs
                        if (one := run.neighbours.agreement.get(key)) is not None
                    ]
                )
            },
            "not recorded",
        )
        for key, head in heads.items()
    ]
    k = span(run.neighbours.k for run in comparison.every)
    return arm_table(
        name,
        f"Share of the {k} nearest neighbours with the label and the patient of the image itself: "
        f"{comparison.where}",
        comparison.arms,
        columns,
        "Nearest by the cosine of the pooled features. By chance: what neighbours drawn at random "
        "would share. Images of one patient are alike and share their label without any medicine: "
        "among other patients only tells what is left without them.",
    )


def _agreement(seeds: Sequence[float]) -> Cell:
    summary = mean_summary(seeds)
    # A chance may be the same for every seed.
    several = summary.seeds[0] < summary.seeds[-1]
    return number_cell(summary.value, *(summary.seeds_notes(narrow=True) if several else ()))
