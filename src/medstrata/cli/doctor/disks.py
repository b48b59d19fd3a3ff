"""Whether folders can be written to as stores and runs need it."""

import mmap
import os
import shutil
import tempfile
import time
from pathlib import Path

from medstrata.cli.doctor.findings import Finding
from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.files import replacing

_WRITTEN = 2**25  # bytes
_GB = 10**9
_SLOW = 2e7  # bytes a second


def disk_findings() -> list[Finding]:
    """The current folder, and the one for what the program keeps by itself."""
    return [
        *_folder_findings("disk here", Path.cwd(), "work in another folder"),
        *_folder_findings("cache", cache_folder(), "set MEDSTRATA_CACHE to another folder"),
    ]


def _folder_findings(subject: str, folder: Path, elsewhere: str) -> list[Finding]:
    try:
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryDirectory(dir=there, prefix=".medstrata-doctor-") as trial:
            speed = _try(Path(trial))
    except OSError as error:
        words = f"{folder}: {error.strerror or error}"
        return [Finding("wrong", subject, words, f"{elsewhere}, or mend its rights or mount")]
    words = f"{folder}: {free / _GB:.1f} GB free, written at {speed / 1e6:,.0f} MB/s"
    if free < _GB // 5:
        return [Finding("wrong", subject, words, f"make room, or {elsewhere}")]
    if free < 5 * _GB:
        return [Finding("warn", subject, words, f"make room, or {elsewhere}")]
    if speed < _SLOW:
        return [Finding("warn", subject, f"{words}, which is slow", elsewhere)]
    return [Finding("ok", subject, words)]


def _try(folder: Path) -> float:
    """Write, make durable, rename and map a file as stores and checkpoints do.

    Returns:
        Bytes a second.

    Raises:
        OSError: which of these does not work here, and why.
    """
    file, block = folder / "trial", os.urandom(2**20)
    step, start = "writing", time.perf_counter()
    try:
        with file.open("wb") as stream:
            for _ in range(_WRITTEN // len(block)):
                stream.write(block)
            stream.flush()
            step = "making files durable (fsync)"
            os.fsync(stream.fileno())
        taken = time.perf_counter() - start
        step = "renaming over a file"
        with replacing(file) as temporary:
            temporary.write_bytes(block)
        step = "mapping files into memory (mmap)"
        with (
            file.open("rb") as written,
            mmap.mmap(written.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            same = m[:] == block
    except (OSError, ValueError) as error:
        raise OSError(f"{step} does not work: {error}") from error
    if not same:
        raise OSError(f"{step} does not work: it gives other bytes than were written")
    return _WRITTEN / taken
