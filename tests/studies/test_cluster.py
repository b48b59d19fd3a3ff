"""Schedulers that take a node away."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import submitit

from medstrata.data.store.store import Store
from medstrata.studies.cluster import ClusterCell
from medstrata.studies.plan import plan
from medstrata.studies.study_file import as_study
from medstrata.studies.workers import log_path
from support.runs import assert_equal_states, final_state, without_times
from support.two_processes import LAUNCH, ONE_THREAD, OPTIONS, PATH
from support.waiting import PATIENCE_S, started, wait_until


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


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
