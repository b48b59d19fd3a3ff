"""Runs that the tests of all export targets share."""

import json
import shutil
from pathlib import Path

import pytest

from support.exported_runs import pretrained_run, tuned_run


@pytest.fixture(scope="session")
def exported_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`grey` (resnet18, one channel), and `small` (test_resnet, three); each also `-tuned`."""
    folder = tmp_path_factory.mktemp("runs")
    pretrained_run(folder / "grey", "resnet18")
    tuned_run(folder / "grey-tuned", "resnet18", encoder="../grey")
    pretrained_run(folder / "small", "test_resnet", channels=3)
    tuned_run(folder / "small-tuned", "test_resnet", encoder="../small", channels=3)
    return folder


@pytest.fixture(scope="session")
def evaluated_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pre`, and three evaluations of it: `tuned`, `frozen`, `probed`; one before a move."""
    folder = tmp_path_factory.mktemp("runs")
    pretrained_run(folder / "pre", "test_resnet")
    tuned_run(folder / "tuned", "test_resnet", encoder="../pre")
    tuned = json.loads((folder / "tuned" / "result.json").read_text())
    cell = {"value": 0.625, "low": 0.5, "high": 0.75}
    frozen = {**tuned, "protocol": "frozen", "fraction": 0.01}
    frozen["test"] = {**tuned["test"], "scores": {"auroc": cell}}
    probed = {**tuned, "kind": "probe"}
    probed["test"] = {**tuned["test"], "stages": {"pooled": {"linear": {**cell, "value": 0.6875}}}}
    for name, result in {
        "frozen": frozen,
        "probed": probed,
        "moved": {**frozen, "encoder": "../else"},
        "stale": {**frozen, "encoder_digest": "0" * 32},
    }.items():
        (folder / name).mkdir()
        (folder / name / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_run(tmp_path_factory.mktemp("runs") / "pre", "test_resnet")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "pre"))
