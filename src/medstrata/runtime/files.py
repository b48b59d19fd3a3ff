"""Writing files so that a reader sees the old one or the whole new one, never half."""

import errno
import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from medstrata.runtime.errors import MedstrataError

if TYPE_CHECKING:
    from torch import Tensor

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PROBE_BYTES = 2**20
_CLOCK_S = 2.0  # by which the times of a file and of a process may differ


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success make it durable and move it into place.

    On an error the temporary file is removed and `path` is as it was. Folders above it are made,
    and what a killed process left of the same file is removed.

    Raises:
        MedstrataError: there is no room for it, whatever the writer's library made of that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f"{_scratch_prefix(path)}tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError, ValueError) as error:
        # Libraries in C, NumPy among them, lose the system's word for it.
        said = error if isinstance(error, OSError) and error.errno else None
        full = said or _no_room_beside(temporary)
        if full and full.errno in _NO_ROOM:
            raise no_room(path, full) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`; on success make its files durable and move it into place.

    A folder at `path` is deleted then, and only then; on an error it is as it was. What a killed
    process left of the same folder is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    around = Path(tempfile.mkdtemp(prefix=_scratch_prefix(path), suffix=".tmp", dir=path.parent))
    temporary, former = around / "new", around / "old"
    temporary.mkdir()  # with the rights of any folder; mkdtemp's is its owner's alone
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if path.exists():
            path.rename(former)
        try:
            temporary.rename(path)
        except OSError:
            if former.exists():
                former.rename(path)
            raise
    finally:
        shutil.rmtree(around, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_tensors(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write tensors as a safetensors file, atomically, whatever their layout and device."""
    from safetensors.torch import save  # heavy, and most files are none of tensors

    # A copy each: of two names for one tensor, as CoaT has them, safetensors writes none.
    plain = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary:
        # Not save_file, whose files no one but their owner can read.
        temporary.write_bytes(save(plain, metadata={"format": "pt"}))


def no_room(path: Path, error: OSError) -> MedstrataError:
    """The error for a file that the system has no room for."""
    return MedstrataError(
        f"{path} cannot be written: {os.strerror(error.errno or 0)}; make room and run the same "
        "command again"
    )


def _no_room_beside(temporary: Path) -> OSError | None:
    """What the system says to a little more of a file that could not be written, if anything."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error if error.errno in _NO_ROOM else None
    return None


def _scratch_prefix(path: Path) -> str:
    """How the names begin of what this process writes before it is moved to `path`."""
    return f"{_host_prefix(path)}{os.getpid()}."


def _host_prefix(path: Path) -> str:
    host = "".join(letter for letter in platform.node() if letter.isalnum() or letter == "-")
    return f".{path.name}.{host}."


def _remove_abandoned(path: Path) -> None:
    """Remove what processes of this machine that are no more have begun to write for `path`."""
    prefix = _host_prefix(path)
    for scratch in path.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        number = scratch.name.removeprefix(prefix).partition(".")[0]
        try:
            changed = scratch.stat().st_mtime
            # In a container every process may have the number of one that was killed.
            if psutil.Process(int(number)).create_time() <= changed + _CLOCK_S:
                continue
        except (OSError, ValueError):
            continue
        except psutil.NoSuchProcess:
            pass
        except psutil.Error:
            continue
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            scratch.unlink(missing_ok=True)
