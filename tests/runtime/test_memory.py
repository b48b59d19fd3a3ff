"""Memory that a step frees stays with the process on glibc, where it is asked for."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
import torch
from medstrata.runtime.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(20):
    torch.empty(2**24).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.empty(2**24).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Pages asked of the system while 64 MiB are allocated and written once more."""
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a tuning of glibc")
def test_large_blocks_are_not_given_back_between_steps() -> None:
    assert page_faults("kept") < 100 < page_faults("as it is")
