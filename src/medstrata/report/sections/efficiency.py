"""Label efficiency: with which share of the labels an arm scores as a reference does with all."""

from collections.abc import Iterator, Sequence

from medstrata.metrics.label_efficiency import Efficiency, label_efficiency
from medstrata.metrics.metric import LOWER_IS_BETTER
from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.differences import identity
from medstrata.report.read.predictions import LEVEL, RESAMPLES
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
        "all of them. Between the shares studied the mean score over seeds is taken to rise along "
        "a straight line in the logarithm of the share; the smallest share at which the line meets "
        "the reference is given. Where the smallest share studied is enough already, less may be "
        f"too: such an entry begins with ≤. The {percent(LEVEL)} interval is over patients "
        f"({RESAMPLES:,} resamples, the same for both arms); an open end means that the reference "
        "was not reached in that many of them.",
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
    predictions = comparison.predictions
    studied = {
        one: runs for one in comparison.fractions if (runs := comparison.predicted(arm, one))
    }
    if arm == reference:
        return TableCell(text="the reference")
    # From one share alone nothing can be said about fewer labels.
    if len(studied) < 2:
        return TableCell(text="too few shares")
    try:
        efficiency = label_efficiency(
            {one: predictions.scores(comparison.metric, runs) for one, runs in studied.items()},
            predictions.scores(comparison.metric, comparison.predicted(reference, 1.0)),
            lower_is_better=comparison.metric in LOWER_IS_BETTER,
            level=LEVEL,
        )
    except ValueError:  # not defined in any resample: too few patients of a class
        return TableCell(text="undefined")
    return share_cell(efficiency, min(studied))


def share_cell(efficiency: Efficiency, smallest: float) -> TableCell:
    """A share of the labels as it is read, `smallest` being the smallest share studied."""
    ends = [_share(end, smallest) for end in (efficiency.low, efficiency.high)]
    notes = [] if efficiency.low is None else [f"{percent(LEVEL)}: {ends[0]} to {ends[1]}"]
    if efficiency.reached < 1:
        notes.append(f"reached in {percent(efficiency.reached)} of resamples")
    if efficiency.fraction is None:
        return TableCell(text="not reached", notes=tuple(notes))
    return TableCell(
        text=_share(efficiency.fraction, smallest), number=efficiency.fraction, notes=tuple(notes)
    )


def _share(fraction: float | None, smallest: float) -> str:
    if fraction is None:
        return "beyond all"
    return f"{'≤ ' if fraction <= smallest else ''}{percent(float(f'{fraction:.2g}'))}"
