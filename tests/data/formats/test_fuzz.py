"""Damaged files of every format give an image or a reason: no crash, hang or flood of memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.damage import FORMATS

DAMAGE = Path(__file__).parents[2] / "support" / "damage.py"
GROUPS = [list(FORMATS)[start::2] for start in range(2)]  # each process takes a second to start


def survive(folder: Path, seed: int, examples: int, forms: list[str]) -> None:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, DAMAGE, folder, str(seed), str(examples), *forms],
        capture_output=True,
        check=False,
        env=os.environ | one_thread,
        text=True,
        errors="replace",
    )
    last = done.stdout.split()[-1:]
    assert done.returncode == 0, f"{last}, file in {folder}: {done.stderr[-3000:]}"
    assert done.stdout.split() == forms


@pytest.mark.parametrize("forms", GROUPS, ids=["first", "second"])
def test_damaged_files(tmp_path, forms):
    survive(tmp_path, 0, 80, forms)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("form", FORMATS)
def test_many_damaged_files(tmp_path, form, seed):
    survive(tmp_path, seed, 2000, [form])
