"""Runs in a table of seeds and draws, whole whatever is missing."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medstrata.report.compare.run_grid import RunGrid, paired_grids, run_grid
from medstrata.report.read.results import Finetune
from medstrata.report.read.runs import collect
from support.report_runs import finetune_run


def runs(
    folder: Path, cells: Iterable[tuple[int, int]], arm: str = "moco", **changes: Any
) -> list[Finetune]:
    """A run for each seed and draw."""
    for seed, draw in cells:
        options = {"subset_seed": draw, "encoder_digest": f"{arm} {seed}", **changes}
        finetune_run(folder / arm / f"{seed}-{draw}", arm, 0.1, seed, **options)
    return list(collect([folder / arm]).of(Finetune))


def numbers(grid: RunGrid | None) -> list[list[list[tuple[int, int | None]]]]:
    assert grid is not None
    return [[[(run.seed, run.subset_seed) for run in cell] for cell in row] for row in grid.rows]


def crossed(seeds: int, draws: int) -> list[tuple[int, int]]:
    return [(seed, draw) for seed in range(seeds) for draw in range(draws)]


def test_every_seed_with_every_draw(tmp_path: Path) -> None:
    grid = run_grid(runs(tmp_path, crossed(3, 2)))
    assert numbers(grid) == [[[(seed, draw)] for draw in range(2)] for seed in range(3)]
    assert grid is not None
    assert (grid.seeds, grid.draws, grid.too_few) == (3, 2, "")


def test_what_leaves_holes_is_left_out(tmp_path: Path) -> None:
    # Of 3 x 4 cells two are missing: 2 x 4 whole rows, more than 3 x 2 whole columns.
    there = [one for one in crossed(3, 4) if one not in ((2, 0), (2, 1))]
    assert numbers(run_grid(runs(tmp_path, there))) == [
        [[(seed, draw)] for draw in range(4)] for seed in range(2)
    ]
    fewer = [one for one in crossed(3, 4) if one != (2, 0)]
    assert numbers(run_grid(runs(tmp_path / "b", fewer))) == [
        [[(seed, draw)] for draw in range(1, 4)] for seed in range(3)
    ]


def test_draws_with_a_seed_of_their_own_make_one_row(tmp_path: Path) -> None:
    grid = run_grid(runs(tmp_path, [(0, 0), (1, 1), (2, 2)]))
    assert numbers(grid) == [[[(0, 0)], [(1, 1)], [(2, 2)]]]
    assert grid is not None
    assert (grid.seeds, grid.draws, grid.too_few) == (3, 3, "")


def test_runs_of_one_encoder_on_the_same_labels_are_one_cell(tmp_path: Path) -> None:
    grid = run_grid(runs(tmp_path, [(0, 0), (1, 0), (2, 0)], encoder_digest="one", subset_seed=0))
    assert numbers(grid) == [[[(0, 0), (1, 0), (2, 0)]]]
    assert grid is not None
    assert (grid.seeds, grid.too_few) == (1, "one draw of the labels")
    assert run_grid([]) is None


@pytest.mark.parametrize(
    ("encoder", "protocol", "seeds", "too_few"),
    [
        ("moco", "frozen", 1, "one pre-training run of a"),
        ("moco", "full", 2, "2 pre-training runs of a"),
        ("scratch", "full", 1, "one seed of a"),
        ("imagenet", "full", 2, "2 seeds of a"),
        ("imagenet", "frozen", 1, ""),
        ("scratch", "frozen", 3, ""),
    ],
)
def test_how_many_seeds_are_enough(
    encoder: str, protocol: str, seeds: int, too_few: str, tmp_path: Path
) -> None:
    grid = run_grid(runs(tmp_path, crossed(seeds, 2), "a", encoder=encoder, protocol=protocol))
    assert grid is not None
    assert grid.too_few == too_few


def test_seeds_of_runs_that_name_no_digest_are_told_by_their_encoder(tmp_path: Path) -> None:
    one = run_grid(runs(tmp_path, crossed(3, 2), encoder_digest=None))
    own = run_grid(runs(tmp_path / "b", crossed(3, 2), encoder_digest=None, encoder="scratch"))
    assert one is not None
    assert own is not None
    assert (one.seeds, own.seeds) == (1, 3)


def test_two_arms_are_put_on_the_draws_that_both_have(tmp_path: Path) -> None:
    first = runs(tmp_path, crossed(3, 4))
    second = runs(tmp_path, [(0, draw) for draw in (1, 2, 3, 4)], "imagenet", encoder="imagenet")
    grids = paired_grids(first, second)
    assert grids is not None
    assert np.shape(numbers(grids[0])) == (3, 3, 1, 2)
    assert numbers(grids[1]) == [[[(0, 1)], [(0, 2)], [(0, 3)]]]
    assert [[run.subset_seed for (run,) in row] for row in grids[0].rows] == [[1, 2, 3]] * 3
    assert paired_grids(first, runs(tmp_path, [(0, 9)], "other")) is None
