"""A study runs every cell once, whatever happens in between."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from medstrata.studies.ledger import Ledger
from medstrata.studies.plan import plan
from medstrata.studies.study import run_study
from support.small_study import TINY, tiny
from support.tiny import make_folder
from support.waiting import PATIENCE_S, started, wait_until


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
                    finished / "out" / protocol / "tiny" / f"{arm}-{fraction}-{seed}-0/subset.csv"
                )
                for protocol in ("full", "frozen")
                for arm in ("scratch", "moco")
            ]
            assert all(subset.equals(subsets[0]) for subset in subsets)


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
