"""Memory that a step frees stays with the process on glibc; precision is each run's own."""

import platform
import subprocess
import sys

import pytest

from medstrata.devices import make_accelerator

_SCRIPT = """
import resource, sys
import torch
from medstrata.devices import make_accelerator

if sys.argv[1] == "kept":
    make_accelerator("fp32")
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


def test_runs_of_one_process_may_differ_in_precision() -> None:
    assert make_accelerator("bf16").mixed_precision == "bf16"
    assert make_accelerator("fp32").mixed_precision == "no"
