"""Cores and memory are those of this process: its affinity, and the limits of its groups."""

import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from medstrata.runtime import machine
from medstrata.runtime.machine import (
    busy_seconds,
    default_threads,
    free_memory,
    processor_flags,
    usable_cores,
    usable_memory,
)
from medstrata.runtime.memory import memory
from support.waiting import PATIENCE_S

GIB = 2**30


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 128 cores and 256 GiB, of which the process may run on 8."""
    has = SimpleNamespace(total=256 * GIB, available=200 * GIB)
    process = SimpleNamespace(cpu_affinity=lambda: list(range(40, 48)))
    monkeypatch.setattr(psutil, "cpu_count", lambda: 128)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: has)
    monkeypatch.setattr(psutil, "Process", lambda: process)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.usefixtures("host")
def test_without_limits_cores_are_those_of_the_affinity(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
    assert usable_memory(tmp_path) == 256 * GIB
    assert free_memory(tmp_path) == 200 * GIB
    assert processor_flags(tmp_path) == frozenset()


@pytest.mark.usefixtures("host")
def test_a_system_without_affinity_has_all_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "Process", SimpleNamespace)
    assert usable_cores(tmp_path) == 128


@pytest.mark.usefixtures("host")
def test_limits_of_control_groups_of_version_2_hold_for_the_groups_below(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/step/memory.max": str(4 * GIB),
            "sys/fs/cgroup/job/step/memory.current": str(3 * GIB),
            "sys/fs/cgroup/job/step/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            "proc/cpuinfo": "processor: 0\nflags\t\t: fpu avx2\n",
        },
    )
    assert usable_cores(tmp_path) == 1.5
    assert usable_memory(tmp_path) == 4 * GIB
    assert free_memory(tmp_path) == 2 * GIB
    assert processor_flags(tmp_path) == {"fpu", "avx2"}


@pytest.mark.usefixtures("host")
def test_limits_of_control_groups_of_version_1(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096),
            "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes": str(GIB // 2),
            "sys/fs/cgroup/memory/docker/a/memory.stat": "inactive_file 1\ntotal_inactive_file 9\n",
        },
    )
    assert usable_cores(tmp_path) == 2
    assert usable_memory(tmp_path) == GIB
    assert free_memory(tmp_path) == GIB // 2 + 9


@pytest.mark.parametrize(("cores", "threads"), [(0.4, 1), (1.5, 2), (8.0, 8)])
def test_threads_are_whole(cores: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert default_threads() == threads


def bound_to_one(found: "multiprocessing.Queue[float]") -> None:
    process = psutil.Process()
    process.cpu_affinity(process.cpu_affinity()[:1])
    found.put(usable_cores())


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="has no affinity")
def test_a_process_bound_to_one_core_has_one() -> None:
    found: multiprocessing.Queue[float] = multiprocessing.get_context("spawn").Queue()
    child = multiprocessing.get_context("spawn").Process(target=bound_to_one, args=(found,))
    child.start()
    assert found.get(timeout=PATIENCE_S) <= 1
    child.join()


def test_this_machine() -> None:
    assert 0 < usable_cores() <= 4096
    assert 0 < free_memory() < usable_memory()
    peak, total = memory(torch.device("cpu"))
    assert total > 0.1
    assert peak is None or 0.01 < peak < total
    before, own = busy_seconds(), time.process_time()
    while time.process_time() < own + 0.2:
        pass
    assert 0 < before < busy_seconds()
