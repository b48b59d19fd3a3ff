"""A run that is killed and resumed, and a run on two processes, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medstrata.data.store.store import Store
from support.runs import assert_equal_states, final_state, records, without_times

WORKER = Path(__file__).parents[1] / "support" / "training_worker.py"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    subprocess.run(command(out, tiny_store), check=True, env=ONE_THREAD)
    return out


def command(
    out: Path, tiny_store: Store, backbone: str = "resnet10t", precision: str = "auto"
) -> list[str]:
    return [sys.executable, str(WORKER), str(out), str(tiny_store.path), backbone, precision]


@pytest.mark.parametrize("lines", [3, 10])
def test_killed_and_resumed_equals_unbroken(
    tiny_store: Store, unbroken: Path, tmp_path: Path, lines: int
) -> None:
    """SIGKILL once so many records were written, at whatever the run is then doing."""
    out = tmp_path / "run"
    running = subprocess.Popen(command(out, tiny_store), env=ONE_THREAD)
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_bytes().splitlines()) < lines:
        assert time.monotonic() < deadline
        assert running.poll() is None, "finished before it could be killed"
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (out / "result.json").exists()
    subprocess.run(command(out, tiny_store), check=True, env=ONE_THREAD)
    assert_equal_states(final_state(unbroken), final_state(out))
    assert without_times(unbroken) == without_times(out)


def test_two_processes_agree_with_one(tiny_store: Store, tmp_path: Path) -> None:
    """Without BatchNorm, with a loss that reads the whole batch, in a precision that shows it."""
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(command(one, tiny_store, "convnext_atto", "fp32"), check=True, env=ONE_THREAD)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = command(two, tiny_store, "convnext_atto", "fp32")[1:]
    subprocess.run([*launcher, *arguments], check=True, env=ONE_THREAD)
    # All processes see that the run is finished and end.
    subprocess.run([*launcher, *arguments], check=True, env=ONE_THREAD, timeout=120)
    first, second = final_state(one), final_state(two)
    assert torch.equal(first["queue"]["ids"], second["queue"]["ids"])
    torch.testing.assert_close(first["queue"]["keys"], second["queue"]["keys"], atol=5e-6, rtol=0)
    for key, value in first["model"].items():
        torch.testing.assert_close(value, second["model"][key], atol=5e-6, rtol=1e-4)
    losses = [[step["loss"] for step in records(run, "step")] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
