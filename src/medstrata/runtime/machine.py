"""What this machine lets this process have, and how busy it is.

A scheduler or a container gives a process fewer cores and less memory than the machine has: by its
affinity, and by control groups (cgroups, version 1 or 2), which psutil does not read.
"""

import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import psutil

Amount = TypeVar("Amount", int, float)

_UNLIMITED = 2**60  # bytes; cgroups of version 1 write a huge number for no limit
_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> float:
    """Processor cores' worth of time that this process may take: its affinity, and any quota.

    Args:
        root: Folder that /proc and /sys lie in.
    """
    return min([float(_cores()), *_known(map(_core_quota, _control_groups(root)))])


def default_threads() -> int:
    """Threads to start where nothing is said: one a usable core, at least one."""
    return max(1, round(usable_cores()))


def usable_memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may hold: the machine's, or what its limits allow."""
    limits = _known(map(_memory_limit, _control_groups(root)))
    return min([psutil.virtual_memory().total, *limits])


def free_memory(root: Path = _ROOT) -> int:
    """Bytes of memory that can still be had, of the machine and below the limits."""
    rooms = _known(map(_memory_room, _control_groups(root)))
    return min([psutil.virtual_memory().available, *rooms])


def processor_flags(root: Path = _ROOT) -> frozenset[str]:
    """Instruction sets of the processor, as Linux names them; empty where they are not known."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset()


def processor_name() -> str:
    """The processor's model."""
    name = re.search(r"^model name\s*:(.*)$", _text(_ROOT / "proc/cpuinfo"), re.MULTILINE)
    return name[1].strip() if name else platform.processor()


def busy_seconds() -> float:
    """Processor seconds that all programs of the machine have used since it started.

    Time that a hypervisor gave to others counts too: it is as little there for this process.
    """
    times = psutil.cpu_times()._asdict()
    idle = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is part of user's as well
    return float(sum(seconds for name, seconds in times.items() if name not in idle))


def peak_memory() -> int | None:
    """The most bytes that this process has held so far; None where the system does not tell."""
    # Not getrusage: its maximum begins with that of the process that started this one.
    peak = re.search(r"^VmHWM:\s*(\d+) kB", _text(_ROOT / "proc/self/status"), re.MULTILINE)
    return int(peak[1]) * 1024 if peak else None


def _cores() -> int:
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS has none
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def _control_groups(root: Path) -> list[Path]:
    """Folders of this process's control groups, and of those that these lie in."""
    top = root / "sys/fs/cgroup"
    found = {top, top / "cpu", top / "memory"}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        trees = [top / one for one in controllers.split(",")] if controllers else [top]
        for tree in trees:
            own = tree / name.lstrip("/")
            found |= {own, *(parent for parent in own.parents if tree in parent.parents)}
    return sorted(found)


def _core_quota(group: Path) -> float | None:
    """Cores' worth of time that a control group may take."""
    limit, _, period = _text(group / "cpu.max").partition(" ")
    if not limit:
        limit = _text(group / "cpu.cfs_quota_us")
        period = _text(group / "cpu.cfs_period_us")
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() else None


def _memory_limit(group: Path) -> int | None:
    """Bytes that a control group may hold."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        limit = _text(group / name)
        if limit.isdigit() and int(limit) < _UNLIMITED:
            return int(limit)
    return None


def _memory_room(group: Path) -> int | None:
    """Bytes below the limit of a control group; the cache of files gives way and counts as free."""
    limit = _memory_limit(group)
    used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
    if limit is None or not used.isdigit():
        return None
    # Version 1 has both names; its total counts the groups below as well, as `used` does.
    cached = re.findall(
        r"^(?:total_)?inactive_file (\d+)", _text(group / "memory.stat"), re.MULTILINE
    )
    return limit - int(used) + max(map(int, cached), default=0)


def _known(amounts: Iterable[Amount | None]) -> list[Amount]:
    return [amount for amount in amounts if amount is not None]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
