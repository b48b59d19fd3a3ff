"""One page about everything, made once for all tests that only look at it."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from medstrata.report.page import write_report
from support.layer_runs import layer_study
from support.predicted_runs import Patients
from support.report_page import Page
from support.report_runs import study

ARMS = ("scratch", "moco", "moco_mse", "moco_bt")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four arms, two seeds, two protocols, and three arms looked into; some runs are damaged.

    One fine-tuning run is unfinished, one broken, one cell empty; one probe is unfinished; two
    atlases are broken. The page stands beside the runs.
    """
    base = tmp_path_factory.getbasetemp()
    # Processes that test side by side share what the first of them makes.
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "report-of-everything"
    with FileLock(root.with_suffix(".lock")):
        if not (root / "report.html").exists():
            study(root / "runs/study", arms=ARMS)
            full, frozen = root / "runs/study/full", root / "runs/study/frozen"
            (full / "moco-0.1-seed1/result.json").unlink()
            (full / "moco-1-seed1/result.json").write_text('{"kind": "finetune",')
            layers = root / "runs/layers"
            layer_study(layers, arms=ARMS[:3], legacy=True)
            (layers / "probe/moco-0.1-seed1/result.json").unlink()
            for seed in (0, 1):
                (frozen / f"moco_bt-1-seed{seed}/result.json").unlink()
                (layers / f"atlas/moco_mse-seed{seed}/result.json").write_text("{")
            write_report([root / "runs"], root / "report.html", title="A title & more", files=False)
    return root / "runs"


@pytest.fixture(scope="session")
def page(root: Path) -> Page:
    """The page about all of them."""
    return Page(root.with_name("report.html"))


@pytest.fixture(scope="session")
def patients() -> Patients:
    """Test images of 60 patients, two each."""
    return Patients(patients=60)
