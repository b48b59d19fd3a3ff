"""What a run was made with: versions, hardware, time and the state of the code."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from medstrata.runtime.machine import processor_name, usable_cores

_PACKAGES = (
    "medstrata",
    "torch",
    "timm",
    "accelerate",
    "numpy",
    "opencv-python-headless",
    "pillow",
)


def environment() -> dict[str, Any]:
    """Versions, hardware and time; no user name, no host name, no paths."""
    import torch  # heavy, and whoever only looks into run folders needs none of it

    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": usable_cores(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git_state(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Commit of the code that runs, with a mark when it has local changes; None outside git."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str:
        done = subprocess.run(  # noqa: S603  (fixed arguments)
            [git, "-C", str(Path(__file__).parent), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    # An installed package may lie in a repository of the user's, which does not hold it.
    if not ask("ls-files", Path(__file__).name):
        return None
    return ask("describe", "--always", "--dirty", "--abbrev=12") or None
