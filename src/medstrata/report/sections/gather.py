"""What predictions show beyond scores, section by section, in the order of the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare.compare import Bench, Comparison
from medstrata.report.compare.differences import BASELINES, Family, families
from medstrata.report.read.facts import Note
from medstrata.report.read.runs import Pretrain
from medstrata.report.render.figures import Style
from medstrata.report.render.formatting import listed, slug
from medstrata.report.render.sections import Section
from medstrata.report.render.tables import unique_names
from medstrata.report.sections.ablation import ablation_section
from medstrata.report.sections.calibration import calibration_section
from medstrata.report.sections.efficiency import efficiency_section
from medstrata.report.sections.forest import differences_section
from medstrata.report.sections.gain import gains_section
from medstrata.report.sections.legacy import legacy_section
from medstrata.report.sections.shift import shift_section
from medstrata.runtime.console import progress_bar


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Sections to show, and what they rest on.

    Attributes:
        sections: Those that have something to show.
        families: For each bench and each of its comparisons, its families of differences.
        notes: What is missing.
    """

    sections: tuple[Section, ...]
    families: tuple[tuple[tuple[Family, ...], ...], ...]
    notes: tuple[Note, ...]


def gather(
    benches: Sequence[Bench], pretrain: Sequence[Pretrain], styles: Mapping[str, Style]
) -> Evidence:
    """Compute everything, with a progress bar.

    Args:
        benches: The comparisons.
        pretrain: The pre-training runs, for the ablation.
        styles: Arm -> style.
    """
    pairs = [(bench, comparison) for bench in benches for comparison in bench.comparisons]
    names = unique_names(slug(b.task.name, b.store.name, c.protocol) for b, c in pairs)
    compared: list[tuple[tuple[Family, ...], ...]] = []
    with progress_bar() as bar:
        task = bar.add_task("comparing arms", total=len(pairs) + 6)
        for bench in benches:
            each = []
            for comparison in bench.comparisons:
                # Kept by the predictions: every table asks for them again.
                for metric in bench.metrics:
                    for fraction in comparison.fractions:
                        comparison.column(fraction, metric)
                each.append(families(bench, comparison))
                bar.advance(task)
            compared.append(tuple(each))
        found = [(name, *pair) for name, pair in zip(names, pairs, strict=True)]
        flat = [one for each in compared for one in each]
        paired = [(*one, its) for one, its in zip(found, flat, strict=True)]
        makers: tuple[Callable[[], Section | None], ...] = (
            lambda: differences_section(paired, styles),
            lambda: gains_section(benches),
            lambda: efficiency_section(found),
            lambda: shift_section(found, styles),
            lambda: calibration_section(found, styles),
        )
        sections: list[Section | None] = []
        for make in makers:
            sections.append(make())
            bar.advance(task)
        ablation, untold = ablation_section(pretrain, benches)
        bar.advance(task)
    sections += [ablation, legacy_section(found)]
    return Evidence(
        sections=tuple(one for one in sections if one is not None),
        families=tuple(compared),
        notes=(
            *(note for bench in benches for note in bench.predictions.notes),
            *(note for one in flat for family in one for note in family.notes),
            *(note for bench, comparison in pairs for note in _holes(bench, comparison)),
            *untold,
        ),
    )


def _holes(bench: Bench, comparison: Comparison) -> Iterator[Note]:
    """What could not be computed for want of runs, where several arms have predictions."""
    covered = comparison.predictions.covered
    predicted = {cell: runs for cell, given in comparison.runs.items() if (runs := covered(given))}
    arms = [arm for arm in comparison.arms if any(arm == one for one, _ in predicted)]
    where = bench.under(comparison)
    if len(arms) < 2:
        return
    names = {comparison.identity(arm)[0] for arm in comparison.arms}
    if not names & set(BASELINES):
        why = f"no arm named {' or '.join(BASELINES)}: no paired difference to a baseline"
        yield Note(what=where, why=why)
    few = any(fraction < 1 for fraction in comparison.fractions)
    if few and not any((arm, 1.0) in predicted for arm in arms):
        yield Note(
            what=where,
            why="no run on all labels with predictions: neither label efficiency nor the shift of "
            "the probabilities is known",
        )
        return
    absent = [arm for arm in arms if few and (arm, 1.0) not in predicted]
    if absent:
        why = "no run on all labels with predictions: its shift is not known"
        yield Note(what=f"{where}: {listed(absent)}", why=why)
    lone = [arm for arm in arms if len(predicted.get((arm, 1.0), ())) == 1]
    if few and lone:
        why = "one seed on all labels: the floor of the shift is not known"
        yield Note(what=f"{where}: {listed(lone)}", why=why)
