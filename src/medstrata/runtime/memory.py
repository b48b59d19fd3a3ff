"""Memory of the device: what a run has held, and what glibc keeps of what is freed."""

import ctypes
import platform
import sys
from typing import NamedTuple

import torch

from medstrata.runtime.machine import peak_memory, usable_memory

_GIB = 2**30


class Memory(NamedTuple):
    """GiB of a device's memory, or of the machine's on a CPU."""

    peak: float | None  # the most this process has held; None where the system does not tell
    total: float


def memory(device: torch.device) -> Memory:
    """The most memory this process has held so far, and what there is for it."""
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return Memory(torch.cuda.max_memory_allocated(device) / _GIB, total / _GIB)
    peak = peak_memory()
    return Memory(peak and peak / _GIB, usable_memory() / _GIB)


def keep_freed_memory() -> None:
    """Tell glibc to keep large blocks that are freed, for the rest of this process.

    Called by programs alone, the command line and the workers of a study: the caller of a library
    could not have it undone, as glibc stops adapting its thresholds for good.

    A step on a CPU frees and allocates gigabytes of activations. By default they go back to the
    operating system each time, which hands out and clears the same pages anew in the next step
    (docs/results/performance.md). With a GPU, or another C library, nothing is changed.
    """
    if torch.cuda.is_available():
        return
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: the heap's free end is never given back
