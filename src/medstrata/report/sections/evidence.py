"""What fine-tuning runs show beyond scores, section by section, in the order of the page."""

from collections.abc import Callable, Mapping, Sequence

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.differences import Family, families
from medstrata.report.compare.gaps import prediction_gaps
from medstrata.report.read.facts import Note
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.render.figures import Style
from medstrata.report.render.parts import Section
from medstrata.report.sections.ablation import ablation_section
from medstrata.report.sections.calibration import calibration_section
from medstrata.report.sections.differences import differences_section
from medstrata.report.sections.efficiency import efficiency_section
from medstrata.report.sections.ks_distance import ks_section
from medstrata.report.sections.legacy import legacy_section
from medstrata.report.sections.mean_difference import gains_section
from medstrata.runtime.console import progress_bar


def paired_differences(
    found: Sequence[Comparison[Finetune]],
) -> dict[str, tuple[Family, ...]]:
    """The families of differences of each comparison, by its name; with a progress bar."""
    paired = {}
    with progress_bar() as bar:
        for comparison in bar.track(found, description="comparing arms"):
            # Kept by the predictions: every table asks for them again.
            for metric in comparison.metrics:
                for fraction in comparison.fractions:
                    comparison.column(fraction, metric)
            paired[comparison.name] = families(comparison)
    return paired


def evidence_sections(
    found: Sequence[Comparison[Finetune]],
    paired: Mapping[str, Sequence[Family]],
    pretrain: Sequence[Pretrain],
    styles: Mapping[str, Style],
) -> tuple[list[Section | None], list[Note]]:
    """Compute every section, with a progress bar; None stands for one with nothing to show.

    Args:
        found: The comparisons.
        paired: As `paired_differences` gives them.
        pretrain: The pre-training runs, for the ablation.
        styles: Arm -> style.
    """
    with_families = [(one, paired[one.name]) for one in found]
    ablation, untold = ablation_section(pretrain, found)
    makers: tuple[Callable[[], Section | None], ...] = (
        lambda: differences_section(with_families, styles),
        lambda: gains_section(found),
        lambda: efficiency_section(found),
        lambda: ks_section(found, styles),
        lambda: calibration_section(found, styles),
        lambda: ablation,
        lambda: legacy_section(found),
    )
    with progress_bar() as bar:
        sections = [make() for make in bar.track(makers, description="computing sections")]
    tables = {one.place: one.predictions for one in found}
    notes = [
        *(note for predictions in tables.values() for note in predictions.notes),
        *(note for each in paired.values() for family in each for note in family.notes),
        *(note for one in found for note in prediction_gaps(one)),
        *untold,
    ]
    return sections, notes
