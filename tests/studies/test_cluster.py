"""Several processes, split weights, and schedulers that take a node away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import submitit
import torch

from medstrata.cli.main import main
from medstrata.data.store.store import Store
from medstrata.studies.cluster import ClusterCell
from medstrata.studies.plan import plan
from medstrata.studies.study_file import as_study
from medstrata.studies.workers import log_path
from support.runs import assert_equal_states, final_state, without_times
from support.waiting import PATIENCE_S, started, wait_until

LAUNCH = Path(__file__).parents[2] / "launch"
# The programs of this environment are found, whether it is activated or not.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": PATH}
OPTIONS = [
    "--recipe=fair/moco_bt",
    "--backbone=test_vit",
    "--epochs=4",
    "--batch-size=8",
    "--precision=fp32",
    "--contrastive.queue-size=20",
    "--views.size=32",
    "--intermediate.projector-size=16",
]


def on_two(store: Store, out: Path, *options: str) -> None:
    launcher = str(LAUNCH / "torchrun.sh")
    subprocess.run(
        [launcher, "2", str(store.path), str(out), *OPTIONS, *options], check=True, env=ONE_THREAD
    )


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


@pytest.mark.slow
def test_split_weights_train_as_whole_ones_do(tiny_store: Store, tmp_path: Path) -> None:
    on_two(tiny_store, tmp_path / "whole")
    on_two(tiny_store, tmp_path / "split", "--shard=true")
    whole, split = (final_state(tmp_path / name)["model"] for name in ("whole", "split"))
    assert whole.keys() == split.keys()
    for key, value in whole.items():
        torch.testing.assert_close(split[key], value, atol=2e-6, rtol=1e-4)
    kept = [tmp_path / name / "exported" / "backbone.safetensors" for name in ("whole", "split")]
    assert kept[0].stat().st_size == kept[1].stat().st_size


@pytest.mark.slow
def test_split_weights_go_on_from_a_checkpoint(tiny_store: Store, tmp_path: Path) -> None:
    on_two(tiny_store, tmp_path / "unbroken", "--shard=true")
    out = tmp_path / "cut"
    launcher = [str(LAUNCH / "torchrun.sh"), "2", str(tiny_store.path), str(out)]
    with started([*launcher, *OPTIONS, "--shard=true"], env=ONE_THREAD) as running:
        wait_until(lambda: list(out.glob("checkpoints/step-*.pt")), running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=PATIENCE_S) != 0
    assert not (out / "result.json").exists()
    on_two(tiny_store, out, "--shard=true")
    assert_equal_states(final_state(tmp_path / "unbroken"), final_state(out))


def test_split_weights_need_several_processes(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", str(tiny_store.path), "--out", str(tmp_path / "run"), *OPTIONS]
    with pytest.raises(SystemExit) as left:
        main([*words, "--shard=true"])
    assert left.value.code == 1
    assert "start them with torchrun" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


SRUN = """#!/usr/bin/env python3
# Runs as many tasks as the job has, hands SIGUSR1 on, gives the highest status.
import os, signal, subprocess, sys
numbers = map(str, range(int(os.environ["SLURM_NTASKS"])))
ranks = [{"SLURM_PROCID": n, "SLURM_LOCALID": n} for n in numbers]
assert sys.argv[1] == "--cpus-per-task=1"
tasks = [subprocess.Popen(sys.argv[2:], env={**os.environ, **rank}) for rank in ranks]
signal.signal(signal.SIGUSR1, lambda *_: [task.send_signal(signal.SIGUSR1) for task in tasks])
open(os.environ["JOB"] + "/srun.pid", "w").write(str(os.getpid()))
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$JOB/scontrol.txt"; fi
"""


def test_a_slurm_job_saves_and_is_queued_again(tiny_store: Store, tmp_path: Path) -> None:
    """The job file itself, under programs that do what srun and scontrol do."""
    job = tmp_path / "job"
    job.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (job / name).write_text(text)
        (job / name).chmod(0o755)
    environment = ONE_THREAD | {
        "JOB": str(job),
        "PATH": f"{job}:{PATH}",
        "SLURM_NTASKS": "2",
        "SLURM_JOB_ID": str(os.getpid() % 20000),
        "SLURM_JOB_NODELIST": "localhost",
    }
    out = tmp_path / "run"
    command = ["bash", str(LAUNCH / "slurm.sbatch"), str(tiny_store.path), str(out), *OPTIONS]
    command.append("--epochs=6")
    with started(command, env=environment) as running:
        wait_until(lambda: lines(out / "metrics.jsonl") >= 3, running)
        os.kill(int((job / "srun.pid").read_text()), signal.SIGUSR1)
        assert running.wait(timeout=PATIENCE_S) == 75
    assert (job / "scontrol.txt").read_text().split() == ["requeue", environment["SLURM_JOB_ID"]]
    saved = list(out.glob("checkpoints/step-*.pt"))
    assert saved
    assert not (out / "result.json").exists()
    # Given one task, it goes on all the same, for the images of a step stay as many.
    subprocess.run(command, env=environment | {"SLURM_NTASKS": "1"}, check=True)
    assert (out / "result.json").is_file()
    assert lines(job / "scontrol.txt") == 1


def children(process: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.slow
def test_a_job_of_a_study_saves_before_it_is_queued_again(
    tiny_store: Store, tmp_path: Path
) -> None:
    """The signal of submitit, in the middle of an epoch; the run loses no step."""
    study = as_study(
        {
            "backbone": "test_vit",
            "data": {"tiny": {"store": str(tiny_store.path), "task": "finding"}},
            "arms": {"moco": {"recipe": "fair/moco"}},
            "pretrain": {"epochs": 30, "batch_size": 8, "contrastive": {"queue_size": 16}},
        }
    )
    (cell,) = (cell for cell in plan(study) if cell.kind == "pretrain")
    runs = []
    for name in ("unbroken", "cut"):
        out = tmp_path / name
        executor = submitit.LocalExecutor(folder=out / "jobs")
        executor.update_parameters(timeout_min=PATIENCE_S // 60)
        job = executor.submit(ClusterCell(cell, study, out, tmp_path))
        runs.append(out / cell.folder)
        if name == "cut":
            wait_until(lambda: lines(runs[1] / "metrics.jsonl") >= 3, job._process)
            (task,) = children(job._process.pid)
            os.kill(task, signal.SIGUSR2)
        job.result()
    said = log_path(tmp_path / "cut", cell).read_text()
    assert said.count("\n--- ") + said.startswith("--- ") == 2
    assert "resuming" in said
    assert_equal_states(*(final_state(run) for run in runs))
    assert without_times(runs[0]) == without_times(runs[1])
