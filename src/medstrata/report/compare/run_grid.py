"""The runs of an arm at one share of the labels as a table: a row a seed, a column a label draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from medstrata.metrics.intervals import mean_of_models
from medstrata.metrics.resampling import Floats
from medstrata.report.read.predictions import Predictions
from medstrata.report.read.results import Finetune
from medstrata.report.render.formatting import counted

# Before an arm is called better or worse, so many of its seeds must be known.
SEEDS_NEEDED = 3

ONE_DRAW = "one draw of the labels"

# Draw of the labels, as `Finetune.labelled`, -> runs on it that differ in fine-tuning alone.
_Row = dict[object, list[Finetune]]


@dataclass(frozen=True, kw_only=True)
class RunGrid:
    """Runs of one arm, every seed with every draw of the labels.

    Attributes:
        rows: For each seed, and each draw, the runs there are; all rows are of the same draws.
        seeds: How many there are. They may be more than the rows: where every draw has a seed of
            its own, the draws tell of both, and make up one row.
    """

    rows: tuple[tuple[tuple[Finetune, ...], ...], ...]
    seeds: int

    @property
    def draws(self) -> int:
        """How many draws of the labels there are."""
        return len(self.rows[0])

    @property
    def lacking(self) -> str:
        """What there is too little of to say anything of other runs; empty where there is enough.

        All labels can be drawn but once, and a frozen encoder of ImageNet leaves nothing to chance.
        """
        run = self.rows[0][0][0]
        if run.fraction < 1 and self.draws == 1:
            return ONE_DRAW
        if self.seeds >= SEEDS_NEEDED or run.is_fixed:
            return ""
        noun = "pre-training run" if run.encoder.kind == "path" else "seed"
        return f"one {noun}" if self.seeds == 1 else counted(self.seeds, noun)

    @property
    def too_few(self) -> str:
        """The same, seeds with the name of their arm; every arm has the same draws."""
        of_all = self.lacking in ("", ONE_DRAW)
        return self.lacking if of_all else f"{self.lacking} of {self.rows[0][0][0].label}"

    def scores(self, predictions: Predictions, metric: str) -> Floats:
        """Scores as they are, then of each resample of the patients: (S, D, 1 + R)."""
        return np.array(
            [
                [mean_of_models(predictions.scores(metric, runs)) for runs in row]
                for row in self.rows
            ]
        )


def run_grid(runs: Sequence[Finetune]) -> RunGrid | None:
    """Put the runs of one arm in order, at least one; what leaves holes is left out."""
    rows, nested = _by_origin(runs)
    return _grid(rows, _fullest(rows), nested=nested) if runs else None


def paired_grids(
    first: Sequence[Finetune], second: Sequence[Finetune]
) -> tuple[RunGrid, RunGrid] | None:
    """The runs of two arms on the draws of the labels that both have; None where there are none."""
    common = {run.labelled for run in first} & {run.labelled for run in second}
    if not common:
        return None
    (rows, nested), (others, others_nested) = (
        _by_origin([run for run in arm if run.labelled in common]) for arm in (first, second)
    )
    kept = _fullest(rows)
    draws = _fullest([{draw: row[draw] for draw in kept if draw in row} for row in others])
    return _grid(rows, draws, nested=nested), _grid(others, draws, nested=others_nested)


def _by_origin(runs: Sequence[Finetune]) -> tuple[list[_Row], bool]:
    """A row a seed; or one of all draws, and True, where each draw has a seed of its own."""
    rows: dict[object, _Row] = {}
    for run in runs:
        rows.setdefault(run.origin, {}).setdefault(run.labelled, []).append(run)
    together = {draw: found for row in rows.values() for draw, found in row.items()}
    if 1 < len(rows) == len(together) == sum(map(len, rows.values())):
        return [together], True
    return list(rows.values()), False


def _fullest(rows: Sequence[_Row]) -> list[object]:
    """The draws of the largest table without a hole."""
    ordered = sorted(rows, key=len, reverse=True)
    shared = accumulate(
        ordered, lambda kept, row: {draw: kept[draw] for draw in kept if draw in row}
    )
    return list(max(enumerate(shared, start=1), key=lambda one: one[0] * len(one[1]))[1])


def _grid(rows: Sequence[_Row], draws: Sequence[object], *, nested: bool) -> RunGrid:
    whole = [row for row in rows if all(draw in row for draw in draws)]
    return RunGrid(
        rows=tuple(tuple(tuple(row[draw]) for draw in draws) for row in whole),
        seeds=len(draws) if nested else len(whole),
    )
