"""What this machine has: processor, memory, GPU, and the limits it is under."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from medstrata.runtime.machine import default_threads

_NVIDIA, _DISPLAY = "0x10de", "0x03"  # of PCI: the vendor, and how classes of GPUs begin
_UNLIMITED = 2**60  # bytes; cgroups of version 1 write a huge number for no limit


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts that the system tells without any library.

    Attributes:
        cores: That this process may run on.
        quota: Cores' worth of time that its control group may take; None where it is not limited.
        flags: Instruction sets of the processor; empty where they are not known.
        free: Bytes of memory that can still be had of the machine; None where it does not say.
        room: Bytes that the control group still allows; None where it is not limited.
        shared: Bytes free in /dev/shm; None where there is none.
        nvidia: Whether an NVIDIA GPU is plugged in.
        driver: Version of NVIDIA's kernel driver; None where it is not loaded.
    """

    cores: int
    quota: float | None
    flags: frozenset[str]
    free: int | None
    room: int | None
    shared: int | None
    nvidia: bool
    driver: str | None

    @property
    def usable_cores(self) -> int:
        """Cores that threads can really run on at a time."""
        return self.cores if self.quota is None else max(1, min(self.cores, round(self.quota)))

    @property
    def usable_memory(self) -> int | None:
        """Bytes that can still be had."""
        known = [amount for amount in (self.free, self.room) if amount is not None]
        return min(known) if known else None


def look(root: Path = Path("/")) -> Machine:
    """Read the facts of this machine.

    Args:
        root: Folder that /proc, /sys and /dev lie in.
    """
    groups = _groups(root)
    quotas = [quota for group in groups if (quota := _quota(group)) is not None]
    rooms = [room for group in groups if (room := _room(group)) is not None]
    cpuinfo = re.search(r"^(?:flags|Features)\s*:(.*)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    available = re.search(r"^MemAvailable:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    driver = re.search(r"Kernel Module\D*([\d.]+)", _text(root / "proc/driver/nvidia/version"))
    return Machine(
        cores=default_threads(),
        quota=min(quotas, default=None),
        flags=frozenset(cpuinfo[1].split()) if cpuinfo else frozenset(),
        free=int(available[1]) * 1024 if available else None,
        room=min(rooms, default=None),
        shared=_free_bytes(root / "dev/shm"),
        nvidia=driver is not None or any(map(_is_nvidia, (root / "sys/bus/pci/devices").glob("*"))),
        driver=driver[1] if driver else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _groups(root: Path) -> list[Path]:
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


def _quota(group: Path) -> float | None:
    """Cores' worth of time, of a control group of version 2 or 1."""
    limit, _, period = _text(group / "cpu.max").partition(" ")
    if not limit:
        limit = _text(group / "cpu.cfs_quota_us")
        period = _text(group / "cpu.cfs_period_us")
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() else None


def _room(group: Path) -> int | None:
    """Bytes below the limit of a control group; the cache of files gives way and counts as free."""
    for limit_file, used_file, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _text(group / limit_file), _text(group / used_file)
        if limit.isdigit() and used.isdigit() and int(limit) < _UNLIMITED:
            cache = re.search(rf"^{cached} (\d+)", _text(group / "memory.stat"), re.MULTILINE)
            return int(limit) - int(used) + (int(cache[1]) if cache else 0)
    return None


def _free_bytes(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def _is_nvidia(device: Path) -> bool:
    is_gpu = _text(device / "class").startswith(_DISPLAY)
    return is_gpu and _text(device / "vendor") == _NVIDIA
