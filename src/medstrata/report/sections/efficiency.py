"""Label efficiency: with which share of the labels an arm scores as a reference does with all."""

from collections.abc import Iterator, Sequence

from medstrata.metrics.defaults import LEVEL
from medstrata.metrics.label_efficiency import Efficiency, label_efficiency
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.differences import difference_of, identity
from medstrata.report.compare.run_grid import run_grid
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import metric_name, percent, score_text
from medstrata.report.render.tables import Table, TableCell, arm_table
from medstrata.report.sections.section import Section, headed_parts

# Arms whose score with all labels is to be reached.
_REFERENCES = ("scratch", "moco")


def efficiency_section(comparisons: Sequence[Comparison[Finetune]]) -> Section:
    """Every comparison with a reference trained on all labels."""
    return Section(
        anchor="efficiency",
        title="Label efficiency",
        short="Label efficiency",
        lead="The share of the labels with which an arm scores what a reference arm scores with "
        "all of them. Between the shares studied the difference of the mean scores is taken to run "
        "along a straight line in the logarithm of the share; the smallest share at which it "
        "reaches 0 is given. Where the smallest share studied is enough already, less may be too: "
        f"such an entry begins with ≤. The {percent(LEVEL)} interval holds the shares at which the "
        "difference may be 0, given other patients, seeds and draws of the labels; an open end "
        "means that even with all labels it may lie below.",
        parts=headed_parts(comparisons, _efficiency_tables),
    )


def _efficiency_tables(comparison: Comparison[Finetune]) -> Iterator[Table]:
    """One, or none where no arm can be held against a reference."""
    column = comparison.column(1.0, comparison.metric)
    references = [
        arm
        for word in _REFERENCES
        for arm in comparison.arms
        if identity(comparison, arm)[0] == word and comparison.predicted(arm, 1.0) and arm in column
    ]
    if not comparison.predictions.knows(comparison.metric):
        return
    cells = {
        (arm, one): _efficiency_cell(comparison, arm, one)
        for one in references
        for arm in comparison.arms
    }
    if not any(cell.number is not None for cell in cells.values()):
        return
    yield arm_table(
        f"{comparison.name}-efficiency",
        f"Share of the labels with which each arm reaches the {metric_name(comparison.metric)} of "
        f"a reference with all labels: {comparison.clause}",
        comparison.arms,
        {
            one: TableCell(f"{one}, all labels", notes=(score_text(column[one].value),))
            for one in references
        },
        cells,
        note="In the CSV file shares are from 0 to 1.",
    )


def _efficiency_cell(comparison: Comparison[Finetune], arm: str, reference: str) -> TableCell:
    studied = {
        one: grid
        for one in comparison.fractions
        if (grid := run_grid(comparison.predicted(arm, one))) is not None
    }
    if arm == reference:
        return TableCell(text="the reference")
    # From one share alone nothing can be said about fewer labels.
    if len(studied) < 2:
        return TableCell(text="too few shares")
    goal = run_grid(comparison.predicted(reference, 1.0))
    assert goal is not None  # else it is no reference
    differences = {
        one: difference
        for one, grid in studied.items()
        if (difference := difference_of(comparison, (grid, goal), same_draws=False)) is not None
    }
    if len(differences) < len(studied):
        return TableCell(text="undefined")
    lower = comparison.metric in LOWER_IS_BETTER
    efficiency = label_efficiency(differences, lower_is_better=lower)
    too_few = [grid.too_few for grid in (goal, *studied.values()) if grid.too_few]
    return share_cell(efficiency, min(studied), too_few[0] if too_few else "")


def share_cell(efficiency: Efficiency, smallest: float, too_few: str) -> TableCell:
    """A share of the labels as it is read.

    Args:
        efficiency: The share.
        smallest: The smallest share studied.
        too_few: As `RunGrid.too_few`.
    """
    ends = [_share(end, smallest) for end in (efficiency.low, efficiency.high)]
    notes = [] if efficiency.low is None else [f"{percent(LEVEL)}: {ends[0]} to {ends[1]}"]
    if too_few:
        notes.append(f"no verdict: {too_few}")
    if efficiency.fraction is None:
        return TableCell(text="not reached", notes=tuple(notes))
    return TableCell(
        text=_share(efficiency.fraction, smallest), number=efficiency.fraction, notes=tuple(notes)
    )


def _share(fraction: float | None, smallest: float) -> str:
    if fraction is None:
        return "beyond all"
    return f"{'≤ ' if fraction <= smallest else ''}{percent(float(f'{fraction:.2g}'))}"
