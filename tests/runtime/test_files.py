"""Files and folders appear whole, whatever lies there from a run that was killed."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file, atomic_folder, save_tensors, write_text


def test_folders_above_a_file_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "file.txt", "text")
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "text"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for content in ("one", "two"):
        with atomic_folder(path) as temporary:
            (temporary / "file.txt").write_text(content)
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:  # noqa: PT012
        (temporary / "file.txt").write_text("half")
        raise RuntimeError
    assert (path / "file.txt").read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """In a container the next process may have the same number."""
    for left in (f".out.{os.getpid()}.tmp", f".out.{os.getpid()}.old"):
        (tmp_path / left).mkdir()
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "file.txt").touch()
    assert (tmp_path / "out" / "file.txt").is_file()


def test_a_folder_has_the_rights_of_any_folder(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "file.txt").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "out")]
    assert modes[0] == modes[1]


def test_tensors_of_any_layout_are_read_back_by_whoever_may_read_files(tmp_path: Path) -> None:
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    tensors = {"maps": maps.to(memory_format=torch.channels_last), "across": maps[0, 0].T}
    tensors["alias"], tensors["part"] = tensors["maps"], maps[0]
    save_tensors(tmp_path / "tensors.safetensors", tensors)
    (tmp_path / "usual").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
    found = load_file(tmp_path / "tensors.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_the_old_folder_stays_where_the_new_one_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "out", Path.rename
    with atomic_folder(path) as temporary:
        (temporary / "file.txt").write_text("old")

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError), atomic_folder(path) as temporary:  # noqa: PT011
        (temporary / "file.txt").write_text("new")
    assert (path / "file.txt").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from medstrata.runtime.files import atomic_file, atomic_folder
begun = [kind(Path(sys.argv[1]) / kind.__name__) for kind in (atomic_file, atomic_folder)]
for kind, scratch in zip((atomic_file, atomic_folder), begun):
    path = scratch.__enter__()
    (path if kind is atomic_file else path / "file").write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_file(tmp_path / "atomic_file") as path:
        path.write_text("whole")
    with atomic_folder(tmp_path / "atomic_folder") as folder:
        (folder / "file").write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"atomic_file", "atomic_folder"}


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as scratch:
        scratch.write_text("half")
        other = scratch.with_name(scratch.name.replace(str(os.getpid()), str(os.getppid())))
        other.write_text("half")
        write_text(tmp_path / "another", "text")
    write_text(tmp_path / "file", "text")
    assert other.is_file()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be larger than 100 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_one_line_whoever_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(MedstrataError, match=r"file cannot be written: File too large; make room"):
        write_text(path, "long" * 100_000)
    with pytest.raises(MedstrataError, match="make room"), atomic_file(path) as temporary:
        torch.save({"weight": torch.zeros(100_000)}, temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
