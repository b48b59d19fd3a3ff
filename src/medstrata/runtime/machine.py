"""What this machine has for a process, and how busy it is."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

_GIB = 2**30


class Memory(NamedTuple):
    """GiB of a device's memory, or of the machine's on a CPU."""

    peak: float | None  # the most this process has held; None where the system does not tell
    total: float


def usable_cores() -> float:
    """Processor cores that this process may use: its affinity, and a container's quota."""
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _words(Path("/sys/fs/cgroup/cpu.max"))
    if len(quota) == 2 and quota[0].isdigit():
        return min(float(cores or 1), int(quota[0]) / int(quota[1]))
    return float(cores or 1)


def busy_seconds() -> float | None:
    """Processor seconds that all programs of the machine have used since it started; Linux only.

    Time that a hypervisor gave to others counts too: it is as little there for this process.
    """
    words = _words(Path("/proc/stat"))
    if words[:1] != ["cpu"]:
        return None
    user, nice, system, _idle, _waiting, interrupt, soft, stolen = map(int, words[1:9])
    ticks = user + nice + system + interrupt + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(device: torch.device) -> Memory:
    """The most memory this process has held so far, and what there is."""
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return Memory(torch.cuda.max_memory_allocated(device) / _GIB, total / _GIB)
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _words(Path("/sys/fs/cgroup/memory.max"))
    if limit and limit[0].isdigit():
        total = min(total, int(limit[0]))
    return Memory(_peak_of_process(), total / _GIB)


def _peak_of_process() -> float | None:
    # Not getrusage: its maximum begins with that of the process that started this one.
    words = _words(Path("/proc/self/status"))
    if "VmHWM:" not in words:
        return None
    return int(words[words.index("VmHWM:") + 1]) / 2**20


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
