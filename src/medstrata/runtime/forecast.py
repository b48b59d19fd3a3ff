"""What a run is expected to take of memory, time and disk, against what there is."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from medstrata.runtime.console import duration, say, warn
from medstrata.runtime.devices import device_name
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.machine import free_memory

FLOAT_BYTES = 4
SMALL_FILES = 200_000  # bytes of a run folder without weights
_GIB = 2**30
# Peaks of real runs (docs/how/architecture.md, "Estimates") lie above what the backward pass needs
# by freed blocks that do not fit the next tensor, and by the workspace of convolutions.
_FRAGMENTED = 2.0
_SMALL_TENSORS = _GIB // 8
# Pixels trained on, below which a run is over in seconds and measuring would be most of it.
_SHORT_RUN = 2**25
_SMALL_STEP = 2**20  # pixels, which every network has memory for
_FURTHER_THREAD = 0.8  # of a core that works alone, what each further one adds


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes that training takes beyond what the process holds before its first step.

    Attributes:
        fixed: Gradients and the optimizer's averages, whatever the batch.
        image: What an image of a batch adds.
    """

    fixed: float
    image: float

    def expected(self, batch: int) -> float:
        """The peak of a step, as real runs have it."""
        return self.fixed + _FRAGMENTED * self.image * batch + _SMALL_TENSORS

    def require(self, batch: int, free: float) -> None:
        """Refuse a batch that cannot fit, and name one that does.

        Args:
            batch: Images a step.
            free: Bytes that can be had.

        Raises:
            MedstrataError: what must be held at once is more than can be had.
        """
        if self.fixed + self.image * batch <= free:
            return
        fitting = [size for size in _halves(batch) if self.expected(size) <= free]
        way = "a smaller --backbone or --views.size"
        if fitting:
            way = f"--batch-size {fitting[0]} --accumulate {batch // fitting[0]}, or {way}"
        raise MedstrataError(
            f"a step of {batch} images needs about {gib(self.expected(batch))} of memory and "
            f"{gib(free)} can be had; take {way}"
        )


def _halves(batch: int) -> list[int]:
    """Half of a batch, a quarter and so on, down to the least that BatchNorm can average over."""
    return [batch >> shift for shift in range(1, batch.bit_length()) if batch >> shift >= 8]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take.

    Attributes:
        memory: Bytes beyond what the process holds now.
        free_memory: Bytes that can be had.
        seconds: Of the whole run.
        disk: Bytes of the run folder.
        free_disk: Bytes that can be had there.
        device: What it runs on, in words.
    """

    memory: float
    free_memory: int
    seconds: float
    disk: int
    free_disk: int
    device: str

    def say(self, left: float = 1.0) -> None:
        """One line on what is to come, and a warning where it is tight.

        Args:
            left: Share of the run that is still to be done.
        """
        say(
            f"about {duration(left * self.seconds)} on {self.device}; {gib(self.memory)} of memory "
            f"of {gib(self.free_memory)} that can be had, {gib(self.disk)} of disk of "
            f"{gib(self.free_disk)}"
        )
        if self.memory > self.free_memory:
            warn("memory may not suffice: a smaller --batch-size with --accumulate takes less")


def is_short(step: int, steps: int) -> bool:
    """Whether a run is over before it would have been measured, and its steps are small.

    Args:
        step: Pixels of a step.
        steps: How many there are.
    """
    return step < _SMALL_STEP and step * steps < _SHORT_RUN


def expect(
    memory: TrainingMemory, batch: int, seconds: float, disk: int, out: Path, device: torch.device
) -> Forecast:
    """What a run takes, against what this machine has.

    Args:
        memory: Of its training.
        batch: Images a step.
        seconds: On the GPU or on one core.
        disk: Bytes of its folder.
        out: The folder; need not exist.
        device: What it runs on.

    Raises:
        MedstrataError: it cannot fit the memory or the disk.
    """
    free = _free_device_memory(device)
    memory.require(batch, free)
    free_disk = _free_disk(out)
    if disk > free_disk:
        raise MedstrataError(
            f"{out} will take about {gib(disk)} and {gib(free_disk)} is free there; make room, or "
            "take another --out"
        )
    return Forecast(
        memory=memory.expected(batch),
        free_memory=free,
        seconds=seconds / cores_worth(device, torch.get_num_threads()),
        disk=disk,
        free_disk=free_disk,
        device=device_name(device),
    )


def cores_worth(device: torch.device, threads: int) -> float:
    """How many times as fast as one core torch works with so many threads; 1 for a GPU."""
    return 1.0 if device.type == "cuda" else 1 + _FURTHER_THREAD * (threads - 1)


def _free_device_memory(device: torch.device) -> int:
    """Bytes that can still be had where networks are trained."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def _free_disk(folder: Path) -> int:
    """Bytes that can be had where a folder is, or will be."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    return shutil.disk_usage(there).free


def gib(size: float) -> str:
    """Bytes in words: 2.3 GiB."""
    return f"{size / _GIB:.2g} GiB" if size < 10 * _GIB else f"{size / _GIB:.0f} GiB"
