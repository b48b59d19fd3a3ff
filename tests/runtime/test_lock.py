"""One process at a time in a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.lock import locked

HOLDER = """
import sys
from pathlib import Path
from medstrata.runtime.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_named_and_its_end_frees_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        words = f"in use by process {holder.pid} on .*; wait for it"
        with pytest.raises(MedstrataError, match=words), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):
        pass


def test_an_error_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), locked(tmp_path):
        raise ValueError("inside")
    with locked(tmp_path):
        pass
