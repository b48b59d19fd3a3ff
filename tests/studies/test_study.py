"""A study runs every cell once, whatever happens in between."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from medstrata.runtime.errors import MedstrataError
from medstrata.studies.cell import run_cell
from medstrata.studies.ledger import Ledger
from medstrata.studies.plan import Cell, plan
from medstrata.studies.runner import run_cells
from medstrata.studies.settings import StudySettings, as_study, load_study
from medstrata.studies.study import run_study
from support.tiny import make_folder
from support.waiting import PATIENCE_S, started, wait_until

TINY: dict[str, Any] = {
    "backbone": "resnet10t",
    "data": {
        "tiny": {
            "prepare": {
                "source": "images",
                "labels": "labels.csv",
                "split": "0.5/0.25/0.25",
                "label_columns": ["finding", "grade"],
            },
            "task": "finding",
        }
    },
    "arms": {"scratch": {"encoder": "scratch"}, "moco": {"recipe": "fair/moco"}},
    "fractions": [0.5, 1.0],
    "seeds": 2,
    "pretrain": {
        "epochs": 1,
        "batch_size": 8,
        "contrastive": {"queue_size": 16, "key_sub_batches": 1},
    },
    "protocols": {
        "full": {"settings": {"epochs": 1, "min_steps": 2, "resamples": 50}},
        "frozen": {"settings": {"resamples": 50}},
    },
    "probe": None,
    "reuse": None,
    "atlas": None,
}


def tiny(**changes: Any) -> StudySettings:
    return as_study({**TINY, **changes})


@dataclass
class Ended:
    """A cell that has ended as a test wants it."""

    error: BaseException | None = None

    def done(self) -> bool:
        return True

    def exception(self) -> BaseException | None:
        return self.error


@dataclass
class Pretended:
    """Workers that do nothing but leave what a finished cell leaves."""

    out: Path
    errors: dict[str, list[BaseException]] = field(default_factory=dict)
    slots: int = 2
    order: list[str] = field(default_factory=list)

    def submit(self, cell: Cell) -> Ended:
        self.order.append(cell.folder)
        if self.errors.get(cell.folder):
            return Ended(self.errors[cell.folder].pop(0))
        folder = self.out / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        scores = {"macro_auroc": {"value": 0.5}}
        result = {"seconds": 1.0, "metric": "macro_auroc", "test": {"scores": scores}}
        (folder / "result.json").write_text(json.dumps(result))
        return Ended()

    def stop(self) -> None:
        pass


def test_every_cell_is_run_once_and_after_what_it_needs(tmp_path: Path) -> None:
    workers = Pretended(tmp_path)
    run_cells(tiny(), tmp_path, workers)
    cells = plan(tiny())
    assert sorted(workers.order) == sorted(cell.folder for cell in cells)
    assert len(workers.order) == 1 + 1 + 2 * 2 * 2 * 2
    for cell in cells:
        for need in cell.needs:
            assert workers.order.index(need) < workers.order.index(cell.folder)


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    again = Pretended(tmp_path)
    run_cells(tiny(seeds=3), tmp_path, again)
    assert all(folder.endswith("-2") for folder in again.order)
    assert len(again.order) == 8


def test_a_crashed_cell_is_tried_again(tmp_path: Path) -> None:
    crash = BrokenProcessPool("a worker died")
    workers = Pretended(tmp_path, {"full/tiny/moco-1-0": [crash]})
    run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("full/tiny/moco-1-0") == 2


def test_a_cell_that_fails_is_named_and_only_what_needs_it_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = Pretended(tmp_path, {"pretrain/tiny/moco-0": [MedstrataError("no room")]})
    with pytest.raises(MedstrataError, match=r"9 of 18 cells failed: pretrain tiny moco seed 0"):
        run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("pretrain/tiny/moco-0") == 1
    assert not [folder for folder in workers.order if "/moco-" in folder and "full" in folder]
    assert len([folder for folder in workers.order if "/scratch-" in folder]) == 8
    said = capsys.readouterr().err
    assert "pretrain tiny moco seed 0 failed: no room" in said
    assert "needs pretrain/tiny/moco-0, which failed" in said


def test_a_cell_that_always_crashes_is_given_up(tmp_path: Path) -> None:
    crashes: list[BaseException] = [RuntimeError("out of memory") for _ in range(9)]
    workers = Pretended(tmp_path, {"full/tiny/moco-1-0": crashes})
    with pytest.raises(MedstrataError, match=r"1 of 18 cells failed.*out of memory"):
        run_cells(tiny(), tmp_path, workers)
    assert workers.order.count("full/tiny/moco-1-0") == 3


def test_changed_settings_are_refused_or_made_again_with_what_rests_on_them(
    tmp_path: Path,
) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    changed = tiny(pretrain={**TINY["pretrain"], "epochs": 3})
    with pytest.raises(MedstrataError, match=r"9 finished cells.*epochs 1 -> 3.*--redo"):
        run_cells(changed, tmp_path, Pretended(tmp_path))
    again = Pretended(tmp_path)
    run_cells(changed, tmp_path, again, redo=True)
    assert len(again.order) == 9
    assert all("/moco-" in folder for folder in again.order)


@pytest.mark.parametrize("encoder", ["{data}.pth", "imagenet={data}.pth", "runs/{data}"])
def test_what_a_study_is_given_is_known_by_its_content(tmp_path: Path, encoder: str) -> None:
    exported = tmp_path / "runs" / "tiny" / "exported"
    exported.mkdir(parents=True)
    (tmp_path / "ready").mkdir()
    files = [tmp_path / "tiny.pth", exported / "backbone.safetensors"]
    for file in files:
        file.write_bytes(b"one")
    (tmp_path / "ready" / "store.json").write_text('{"digest": "one"}')
    data = {"tiny": {"store": "ready", "task": "finding"}}
    study = tiny(data=data, arms={"scratch": {"encoder": "scratch"}, "given": {"encoder": encoder}})
    out = tmp_path / "out"
    run_cells(study, out, Pretended(out), root=tmp_path)
    for file in files:
        file.write_bytes(b"two")
    with pytest.raises(MedstrataError, match=r"8 finished cells.*given.*encoder_digest"):
        run_cells(study, out, Pretended(out), root=tmp_path)
    again = Pretended(out)
    run_cells(study, out, again, root=tmp_path, redo=True)
    assert len(again.order) == 8
    assert all("/given-" in folder for folder in again.order)
    (tmp_path / "ready" / "store.json").write_text('{"digest": "two"}')
    with pytest.raises(MedstrataError, match=r"16 finished cells.*store_digest 'one' -> 'two'"):
        run_cells(study, out, Pretended(out), root=tmp_path)


def test_the_task_does_not_decide_the_store_or_the_pretraining() -> None:
    other = {"tiny": {**TINY["data"]["tiny"], "task": "grade"}}
    before = {cell.folder: cell for cell in plan(tiny())}
    after = {
        cell.folder: cell
        for cell in plan(tiny(data=other, pretrain={**TINY["pretrain"], "knn_task": "finding"}))
    }
    assert before["stores/tiny.store"].config == after["stores/tiny.store"].config
    assert before["pretrain/tiny/moco-0"].config == after["pretrain/tiny/moco-0"].config
    assert before["full/tiny/moco-1-0"].config != after["full/tiny/moco-1-0"].config


def test_a_half_made_cell_is_not_taken_for_whole(tmp_path: Path) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    (tmp_path / "full/tiny/moco-1-0/result.json").unlink()
    again = Pretended(tmp_path)
    run_cells(tiny(), tmp_path, again)
    assert again.order == ["full/tiny/moco-1-0"]


def test_two_studies_in_one_folder_are_refused(tmp_path: Path) -> None:
    class Nested(Pretended):
        def submit(self, cell: Cell) -> Ended:
            with pytest.raises(MedstrataError, match="another process runs the study"):
                run_cells(tiny(), self.out, Pretended(self.out))
            return super().submit(cell)

    run_cells(tiny(), tmp_path, Nested(tmp_path))


def test_pretraining_seeds_are_shared_out() -> None:
    cells = {cell.folder: cell for cell in plan(tiny(seeds=3, pretrain_seeds=2))}
    assert "pretrain/tiny/moco-1" in cells["full/tiny/moco-1-1"].needs
    assert "pretrain/tiny/moco-0" in cells["full/tiny/moco-1-2"].needs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dat": 1}, "no setting 'dat'; there are data, arms"),
        ({"arms": {}}, "arms is empty"),
        ({"arms": {"a": {"encodr": "scratch"}}}, "'encodr' is not accepted"),
        ({"arms": {"a": {"recipe": "fair/mocco"}}}, "no recipe 'fair/mocco'; there are"),
        ({"arms": {"a/b": {"encoder": "scratch"}}}, "name 'a/b' may hold letters"),
        ({"arms": {"..": {"encoder": "scratch"}}}, "name '..' may hold letters"),
        ({"arms": {"a": {"encoder": "scratch", "recipe": "fair/moco"}}}, "either encoder or"),
        ({"data": {"a": {"task": "t"}}}, "either store or prepare"),
        ({"fractions": [0.1, 1.5]}, "at most 1, got 1.5"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"protocols": {"ful": {}}}, "no protocol 'ful'; there are full, frozen"),
        ({"protocols": {"full": {"settings": {"epoch": 1}}}}, "no setting 'epoch'"),
        ({"protocols": {"full": {"grid": {"lr": []}}}}, "grid.lr lists no value"),
        ({"pretrain": {"epochs": 0}}, "epochs must be 1 or more"),
        ({"probe": {"fractions": [0.2]}}, "probe.fractions: 0.2 is not among"),
        ({"reuse": {"settings": {"subset": 5}}}, "no setting 'subset'; there are subsets"),
        ({"atlas": {"settings": {"queries": 0}}}, "AtlasSettings.queries must be 1"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(".", r"\.")) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_the_study_of_the_docs_and_those_that_are_shipped_can_be_planned() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "guide" / "study.md").read_text()
    shown = as_study(yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0]))
    changed = shown.pretraining("cxr", "moco_mse", 0)
    assert changed is not None
    assert changed.intermediate.weights == {"stage3": 0.5, "stage4": 0.5}
    assert changed.views.rotation == 15
    for study in [shown, *map(load_study, sorted((root / "studies").glob("*.yaml")))]:
        assert len(plan(study)) > 100


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one thread, here and in every worker: only then are two runs equal bit for bit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study, run to its end in worker processes."""
    folder = tmp_path_factory.mktemp("study")
    make_folder(folder)
    run_study(tiny(), folder / "out", root=folder, jobs=2)
    return folder


def scores(out: Path) -> dict[str, Any]:
    return {
        path.parent.relative_to(out).as_posix(): json.loads(path.read_text())["test"]
        for protocol in ("full", "frozen")
        for path in sorted(out.glob(f"{protocol}/*/*/result.json"))
    }


def test_a_study_ends_with_scores_and_a_report(finished: Path) -> None:
    out = finished / "out"
    assert len(scores(out)) == 16
    assert "</html>" in (out / "report.html").read_text()
    assert not Ledger(out).changed(plan(tiny()))


def test_every_arm_has_the_same_labels(finished: Path) -> None:
    for seed in (0, 1):
        for fraction in ("0.5", "1"):
            subsets = [
                pd.read_csv(
                    finished / "out" / protocol / "tiny" / f"{arm}-{fraction}-{seed}/subset.csv"
                )
                for protocol in ("full", "frozen")
                for arm in ("scratch", "moco")
            ]
            assert all(subset.equals(subsets[0]) for subset in subsets)


def test_a_grid_keeps_what_validates_best(tmp_path: Path, finished: Path) -> None:
    study = tiny(
        data={"tiny": {"store": "out/stores/tiny.store", "task": "finding"}},
        protocols={"full": TINY["protocols"]["full"] | {"grid": {"lr": [1e-9, 1e-3]}}},
        seeds=1,
        fractions=[1.0],
        arms={"scratch": {"encoder": "scratch"}},
    )
    (tuning,) = plan(study)
    run_cell(tuning, study, tmp_path, finished)
    cell = tmp_path / tuning.folder
    choice = json.loads((cell / "choice.json").read_text())
    best = choice["tried"][choice["best"]]
    assert best["val"] == max(one["val"] for one in choice["tried"])
    assert json.loads((cell / "result.json").read_text())["val"]["value"] == best["val"]
    assert yaml.safe_load((cell / "config.yaml").read_text())["lr"] == best["settings"]["lr"]
    assert not (cell / "candidates").exists()


def test_a_study_on_a_cluster_gives_the_same(tmp_path: Path, finished: Path) -> None:
    run_study(
        tiny(
            arms={"scratch": {"encoder": "scratch"}},
            protocols={"full": TINY["protocols"]["full"]},
            seeds=1,
            fractions=[1.0],
        ),
        tmp_path / "out",
        root=finished,
        jobs=2,
        cluster="local",
        cluster_options={"timeout_min": PATIENCE_S // 60},
    )
    expected = scores(finished / "out")
    found = scores(tmp_path / "out")
    assert len(found) == 1
    assert found == {folder: expected[folder] for folder in found}


@pytest.mark.slow
def test_a_study_killed_again_and_again_gives_the_same_tables(
    tmp_path: Path, finished: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY}))
    command = [sys.executable, "-m", "medstrata", "study", str(study), "--data", str(finished)]
    out = tmp_path / "out"
    command += ["--out", str(out), "--jobs", "2"]
    for cells in (1, 4, 9):  # of 16 that give a score
        with started(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            wait_until(lambda cells=cells: len(scores(out)) >= cells, process)
            workers = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            # Its workers see that it is gone, and end.
            assert not psutil.wait_procs(workers, timeout=PATIENCE_S)[1]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert scores(out) == scores(finished / "out")
