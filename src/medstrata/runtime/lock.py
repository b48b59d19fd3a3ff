"""One process at a time in a folder that is written to."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text

_LOCK, _HOLDER = "run.lock", "run.pid"
LOCK_FILES = frozenset((_LOCK, _HOLDER))


@contextmanager
def locked(folder: Path, called: Path | None = None) -> Iterator[None]:
    """Keep other processes out of a folder while the block runs.

    The system opens the lock when the process ends, however it ends.

    Args:
        folder: Exists.
        called: What the message calls it, if that is not the folder itself.

    Raises:
        MedstrataError: another process has it; named is which.
    """
    lock, holder = FileLock(folder / _LOCK), folder / _HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        try:
            who = holder.read_text(encoding="utf-8").strip()
        except OSError:
            who = "another process"
        raise MedstrataError(
            f"{called or folder} is in use by {who}; wait for it, stop it, or choose another folder"
        ) from error
    try:
        write_text(holder, f"process {os.getpid()} on {platform.node()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
