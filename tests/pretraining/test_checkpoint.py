"""A run that is killed and resumed, and a run on two processes: equal to a run in one go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medstrata.data.store.store import Store
from medstrata.runs.checkpoints import checkpoints
from support.runs import assert_equal_states, final_state, records, without_times
from support.training_worker import train

WORKER = Path(__file__).parents[1] / "support" / "training_worker.py"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(out, tiny_store.path)
    return out


@pytest.mark.parametrize(("end", "saved"), [("record:3", 1), ("checkpoint:3", 2)])
def test_killed_and_resumed_equals_unbroken(
    tiny_store: Store, unbroken: Path, tmp_path: Path, end: str, saved: int
) -> None:
    """SIGKILL before an epoch's record is written, and when a checkpoint is half written."""
    out = tmp_path / "run"
    words = [str(out), str(tiny_store.path), "test_resnet", "auto", "0", end]
    ran = subprocess.run([sys.executable, str(WORKER), *words], check=False, env=ONE_THREAD)
    assert ran.returncode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    assert len(checkpoints(out / "checkpoints")) == saved
    train(out, tiny_store.path)
    assert_equal_states(final_state(unbroken), final_state(out))
    assert without_times(unbroken) == without_times(out)


def test_two_processes_agree_with_one(tiny_store: Store, tmp_path: Path) -> None:
    """Without BatchNorm, with a loss that reads the whole batch, in a precision that shows it.

    Both processes see that the run is finished when they train again, and end.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    train(one, tiny_store.path, "convnext_atto", "fp32")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [str(two), str(tiny_store.path), "convnext_atto", "fp32", "0", "again"]
    ran = subprocess.run(
        [*launcher, str(WORKER), *words], check=True, env=ONE_THREAD, stderr=subprocess.PIPE
    )
    assert b"is finished already" in ran.stderr
    first, second = final_state(one), final_state(two)
    assert torch.equal(first["queue"]["ids"], second["queue"]["ids"])
    torch.testing.assert_close(first["queue"]["keys"], second["queue"]["keys"], atol=5e-6, rtol=0)
    for key, value in first["model"].items():
        torch.testing.assert_close(value, second["model"][key], atol=5e-6, rtol=1e-4)
    losses = [[step["loss"] for step in records(run, "step")] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
