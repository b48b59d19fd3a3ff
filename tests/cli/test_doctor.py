"""Each thing doctor looks at is made to fail once, and its line is read."""

import errno
import json
import mmap
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medstrata.cli import doctor as checks
from medstrata.cli.doctor import Check, ChildReport, read_report
from medstrata.cli.main import main

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
GIB = 2**30


def torch(**facts: Any) -> dict[str, Any]:
    sound = {"cuda": None, "threads": 2, "gpus": [], "native_bf16": True, "failure": ""}
    return {**sound, **facts}


def lines(found: Iterable[Check]) -> str:
    return "\n".join(check.line for check in found)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound machine, whose child is not asked."""
    answer = ChildReport({"import torch": None, "device": torch(), "decode PNG": None})
    monkeypatch.setattr(checks, "ask", lambda *_: answer)
    monkeypatch.setattr(checks, "usable_cores", lambda: 2.0)
    monkeypatch.setattr(checks, "default_threads", lambda: 2)
    monkeypatch.setattr(checks, "free_memory", lambda: 8 * GIB)
    monkeypatch.setattr(checks, "usable_memory", lambda: 16 * GIB)
    monkeypatch.setattr(checks, "processor_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**11))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    state(monkeypatch, {"medstrata": ["pytest>=1"]})
    monkeypatch.setenv("MEDSTRATA_CACHE", str(tmp_path / "not" / "yet" / "there"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(
    monkeypatch: pytest.MonkeyPatch,
    requires: dict[str, list[str]],
    versions: dict[str, str] | None = None,
) -> None:
    """What distributions ask for, and which are installed; by default those that really are."""
    monkeypatch.setattr(checks.metadata, "requires", lambda name: requires.get(name, []))
    if versions is not None:
        monkeypatch.setattr(checks, "_version", versions.get)


def test_a_sound_machine(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])  # leaves without an exit status of its own
    said = capsys.readouterr().out
    assert "wrong " not in said
    assert f"ok     Python: {sys.version_info.major}" in said
    assert "ok     memory: 8.0 of 16.0 GiB can be had" in said
    assert "ok     formats: decoded: PNG" in said
    assert "nothing is wrong" in said
    assert list(here.iterdir()) == []  # nothing stays written


@pytest.mark.usefixtures("here")
def test_something_wrong_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda: GIB // 2)
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json"])
    assert left.value.code == 1
    found = json.loads(capsys.readouterr().out)
    (memory,) = [one for one in found if one["subject"] == "memory"]
    assert memory["level"] == "wrong"
    assert "at least 1 GiB" in memory["remedy"]


@pytest.mark.parametrize(
    ("version", "level"),
    [("3.10.2", "wrong"), ("3.11.0", "ok"), ("3.13.9", "ok"), ("3.14.0", "warn")],
)
def test_python(version: str, level: str) -> None:
    assert checks.check_python(version).level == level


@pytest.mark.parametrize(
    ("requires", "versions", "line"),
    [
        ({"medstrata": ["torch>=2.7"]}, {"torch": "2.9.1"}, "ok     versions: 1 libraries"),
        (
            {"medstrata": ["torch>=2.7"]},
            {"torch": "2.6.9+cpu"},
            "wrong  versions: medstrata needs torch>=2.7, and it is 2.6.9+cpu: pip install",
        ),
        ({"medstrata": ["torch>=2.7"]}, {}, "wrong  versions: torch is not installed"),
        (
            {"medstrata": ["torch>=2.7", 'pydicom>=3; extra == "dicom"'], "torchvision": ["gdown"]},
            {"torch": "2.7.0", "torchvision": "0.22.0"},
            "ok     versions",
        ),
        (
            {"medstrata": ["torch>=2.7"], "torchvision": ["numpy", "torch==2.7.0"]},
            {"torch": "2.7.0+cu126", "torchvision": "0.22.0"},
            "ok     versions",
        ),
        (
            {"medstrata": ["torch>=2.7"], "torchvision": ["torch==2.7.0"]},
            {"torch": "2.8.0", "torchvision": "0.22.0"},
            "wrong  versions: torchvision 0.22.0 needs torch==2.7.0, and it is 2.8.0",
        ),
    ],
)
def test_versions_go_together(
    requires: dict[str, list[str]],
    versions: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state(monkeypatch, requires, versions)
    (found,) = checks.check_versions()
    assert found.line.startswith(line)


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    about = ['a>=1; extra == "dicom"', 'b>=2; extra == "dicom"', 'c; extra == "nifti"']
    state(monkeypatch, {"medstrata": ["torch", *about]}, {"torch": "2", "a": "1.5"})
    monkeypatch.setattr(
        checks.metadata,
        "metadata",
        lambda _: SimpleNamespace(get_all=lambda _: ["all", "dicom", "nifti"]),
    )
    assert lines(checks.check_extras()).splitlines() == [
        "warn   extra dicom: b is not installed: pip install --upgrade 'medstrata[dicom]'",
        "ok     extras: installed: none; not installed: nifti (pip install 'medstrata[NAME]')",
    ]
    state(monkeypatch, {"medstrata": about}, {"a": "1.5", "b": "2.0"})
    assert "ok     extras: installed: dicom; not installed: nifti" in lines(checks.check_extras())


def test_requirements_are_those_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [f'{text} ; extra == "dicom"' for text in PROJECT["optional-dependencies"]["dicom"]]
    state(monkeypatch, {"medstrata": [*PROJECT["dependencies"], *stated]})
    assert len(list(checks._requirements("medstrata"))) == len(PROJECT["dependencies"])
    found = {one.name for one in checks._requirements("medstrata", "dicom")}
    assert found == {"pydicom", "imagecodecs"}


def test_a_crash_while_importing_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(*_: object, **__: object) -> SimpleNamespace:
        said = b'noise\n{"step": "import torch"}\n{"step": "import torch", "facts": null}\n'
        said += b'{"step": "import torchvision"}\n'
        return SimpleNamespace(stdout=said, stderr=b"", returncode=-11)

    monkeypatch.setattr(subprocess, "run", crashed)
    answer = checks.ask()
    assert answer.facts == {"import torch": None}
    assert answer.errors == {"import torchvision": "the process was ended by SIGSEGV"}
    said = lines(checks.check_imports(answer))
    assert "wrong  import torchvision: the process was ended by SIGSEGV: pip install" in said
    assert "was not reached: mend what stands above first" in lines(checks.check_device(answer))


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", timeout, output=b'{"step": "device"}\n')

    monkeypatch.setattr(subprocess, "run", late)
    assert "no answer" in lines(checks.check_device(checks.ask()))
    assert read_report(b"", "No module named medstrata").errors == {
        "import medstrata": "No module named medstrata"
    }


@pytest.mark.parametrize(
    ("smi", "said", "line"),
    [
        (False, torch(), "ok     device: no GPU"),
        (False, torch(cuda="12.6", failure="Found no NVIDIA driver"), "ok     device: no GPU"),
        (True, torch(), "is an NVIDIA GPU, but torch is built without CUDA: install a build"),
        (True, torch(cuda="12.6", failure="x"), "does not see the GPU: x: look at nvidia-smi"),
        (False, torch(cuda="12.6", failure="The driver is too old"), "wrong  device: PyTorch does"),
        (
            True,
            torch(cuda="12.6", gpus=["GT 7 (1 GiB)"], failure="no kernel image"),
            "wrong  device: GT 7 (1 GiB) is seen, but does not compute: no kernel image",
        ),
        (True, torch(cuda="12.6", gpus=["V"]), "ok     device: V, CUDA 12.6"),
        (True, torch(cuda="12.6", gpus=["V"], native_bf16=False), "warn   bf16: the GPU has no"),
    ],
)
def test_device(
    smi: bool, said: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi" if smi else None)
    assert line in lines(checks.check_device(ChildReport({"device": said})))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("flags", "threads", "line"),
    [
        ({"avx2"}, 8, "on which PyTorch starts 8 threads: export OMP_NUM_THREADS=2"),
        ({"sse2"}, 2, "warn   instructions: no AVX2"),
        (set(), None, "ok     processor: 2 cores for this process"),
    ],
)
def test_processor(
    flags: set[str], threads: int | None, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "processor_flags", lambda: frozenset(flags))
    assert line in lines(checks.check_processor(threads))


@pytest.mark.usefixtures("here")
def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda: 2 * GIB)
    assert "warn   memory: 2.0 of 16.0 GiB can be had" in lines(checks.check_memory())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 * 2**20))
    if Path("/dev/shm").is_dir():  # noqa: S108
        assert "warn   shared memory: 0.06 GiB free in /dev/shm" in lines(checks.check_memory())


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(os, "fsync"), (Path, "replace"), (mmap, "mmap"), (checks.tempfile, "TemporaryDirectory")],
)
def test_what_a_disk_must_do(
    owner: Any, name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, refuse)
    found = checks.check_folder("disk here", here, "work in another folder")
    assert found.level == "wrong"
    assert "Invalid argument): work in another folder" in found.line
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("free", "level"), [(10**8, "wrong"), (10**9, "warn"), (10**10, "ok")])
def test_room_on_disk(here: Path, free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert checks.check_folder("disk here", here, "").level == level


def test_formats() -> None:
    errors = {"decode DICOM": "decoded 9 levels off", "decode PNG": "ended by SIGSEGV"}
    said = lines(checks.check_formats(ChildReport({"decode JPEG": None}, errors)))
    assert "ok     formats: decoded: JPEG" in said
    assert "wrong  decode DICOM: decoded 9 levels off: pip install --force-reinstall 'med" in said
    assert "wrong  decode PNG: ended by SIGSEGV: pip install --force-reinstall pillow" in said
