"""Every cell is run once and after what it needs, whatever fails in between."""

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.studies.plan import StudyCell, plan
from medstrata.studies.runner import run_cells
from support.small_study import Ended, Pretended, tiny


def test_every_cell_is_run_once_and_after_what_it_needs(tmp_path: Path) -> None:
    workers = Pretended(tmp_path)
    run_cells(tiny(), tmp_path, workers)
    cells = plan(tiny())
    assert sorted(workers.order) == sorted(cell.folder for cell in cells)
    assert len(workers.order) == 1 + 2 + 2 * 2 * 2 * 2
    for cell in cells:
        for need in cell.needs:
            assert workers.order.index(need) < workers.order.index(cell.folder)


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    again = Pretended(tmp_path)
    run_cells(tiny(seeds=3), tmp_path, again)
    assert again.order[0] == "pretrain/tiny/moco-2"
    assert all(folder.endswith("-2-0") for folder in again.order[1:])
    assert len(again.order) == 9


def test_a_crashed_cell_is_tried_again(tmp_path: Path) -> None:
    crash = BrokenProcessPool("a worker died")
    workers = Pretended(tmp_path, {"full/tiny/moco-1-0-0": [crash]})
    run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("full/tiny/moco-1-0-0") == 2


def test_a_cell_that_fails_is_named_and_only_what_needs_it_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = Pretended(tmp_path, {"pretrain/tiny/moco-0": [MedstrataError("no room")]})
    with pytest.raises(MedstrataError, match=r"5 of 19 cells failed: pretrain tiny moco seed 0"):
        run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("pretrain/tiny/moco-0") == 1
    tuned = [one for one in workers.order if one.startswith("full/tiny/moco-")]
    assert tuned == ["full/tiny/moco-0.5-1-0", "full/tiny/moco-1-1-0"]
    assert len([folder for folder in workers.order if "/scratch-" in folder]) == 8
    said = capsys.readouterr().err
    assert "pretrain tiny moco seed 0 failed: no room" in said
    assert "needs pretrain/tiny/moco-0, which failed" in said


def test_a_cell_that_always_crashes_is_given_up(tmp_path: Path) -> None:
    crashes: list[BaseException] = [RuntimeError("out of memory") for _ in range(9)]
    workers = Pretended(tmp_path, {"full/tiny/moco-1-0-0": crashes})
    with pytest.raises(MedstrataError, match=r"1 of 19 cells failed.*out of memory"):
        run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("full/tiny/moco-1-0-0") == 3


def test_a_half_made_cell_is_not_taken_for_whole(tmp_path: Path) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    (tmp_path / "full/tiny/moco-1-0-0/result.json").unlink()
    again = Pretended(tmp_path)
    run_cells(tiny(), tmp_path, again)
    assert again.order == ["full/tiny/moco-1-0-0"]


def test_two_studies_in_one_folder_are_refused(tmp_path: Path) -> None:
    class Nested(Pretended):
        def submit(self, cell: StudyCell) -> Ended:
            with pytest.raises(MedstrataError, match="another process runs the study"):
                run_cells(tiny(), self.out, Pretended(self.out))
            return super().submit(cell)

    run_cells(tiny(), tmp_path, Nested(tmp_path))
