"""Writing files so that a reader sees the old one or the whole new one, never half."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success make it durable and move it into place.

    On an error the temporary file is removed and `path` is as it was. Folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`; on success make its files durable and move it into place.

    A folder at `path` is deleted then, and only then; on an error it is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: in a container every process may have the number of one that was killed.
    around = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
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

    plain = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary:
        # Not save_file, whose files no one but their owner can read.
        temporary.write_bytes(save(plain, metadata={"format": "pt"}))
