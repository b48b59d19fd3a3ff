"""Each thing doctor looks at is made to fail once, and its line is read."""

import errno
import json
import mmap
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medstrata.cli.doctor import child as children
from medstrata.cli.doctor import disks, packages
from medstrata.cli.doctor import examine as examination
from medstrata.cli.doctor.child import Answer, heard
from medstrata.cli.doctor.examine import codec_findings, store_findings
from medstrata.cli.doctor.findings import Finding
from medstrata.cli.doctor.hardware import device_findings, memory_findings, processor_findings
from medstrata.cli.doctor.machine import Machine, look
from medstrata.cli.doctor.packages import Requirement
from medstrata.cli.main import main
from medstrata.data.store.store import Store

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
GIB = 2**30


def machine(**facts: Any) -> Machine:
    sound = {"cores": 8, "quota": None, "flags": frozenset({"avx2", "avx512f"}), "free": 16 * GIB}
    sound |= {"room": None, "shared": GIB, "nvidia": False, "driver": None}
    return Machine(**{**sound, **facts})


def torch(**facts: Any) -> dict[str, Any]:
    sound = {"cuda": None, "threads": 4, "available": False, "native_bf16": True, "why": ""}
    return {**sound, "gpus": [], "failure": "", **facts}


def lines(findings: list[Finding]) -> str:
    return "\n".join(finding.line for finding in findings)


def sound_answers(module: str, *words: str) -> Answer:
    if module == "child_imports":
        facts: dict[str, Any] = dict.fromkeys(words)
        return Answer({**facts, "device": torch()} if "torch" in words else facts)
    return Answer({"PNG": None})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound machine, whose children are not asked."""
    monkeypatch.setattr(examination, "ask", sound_answers)
    monkeypatch.setattr(examination, "look", machine)
    monkeypatch.setattr(
        packages, "requirements", lambda: [Requirement("numpy", "1.0", None), *extras()]
    )
    monkeypatch.setattr(disks.time, "perf_counter", iter(np.arange(0, 1, 0.01)).__next__)
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**11))
    monkeypatch.setenv("MEDSTRATA_CACHE", str(tmp_path / "not" / "yet" / "there"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def extras() -> list[Requirement]:
    return [
        Requirement("pytest", "1.0", "dicom"),
        Requirement("pytest", "999.0", "nifti"),
        Requirement("not-to-be-had", "1.0", "hdf5"),
    ]


def test_a_sound_machine(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])  # leaves without an exit status of its own
    said = capsys.readouterr().out
    assert "wrong " not in said
    assert f"ok     Python: {sys.version_info.major}" in said
    assert "ok     extra dicom: pytest" in said
    assert "warn   extra nifti: pytest" in said
    assert "ok     extra hdf5: not installed; for prepare, of HDF5 files: pip install" in said
    assert "nothing is wrong" in said
    assert list(here.iterdir()) == []  # nothing stays written


@pytest.mark.usefixtures("here")
def test_something_wrong_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "look", lambda: machine(free=GIB // 2))
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json"])
    assert left.value.code == 1
    found = json.loads(capsys.readouterr().out)
    (memory,) = [one for one in found if one["subject"] == "memory"]
    assert memory["level"] == "wrong"
    assert "at least 1 GiB" in memory["remedy"]


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10, 2), "wrong"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "warn")],
)
def test_python(version: tuple[int, int, int], level: str) -> None:
    assert packages.python_finding(version).level == level


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        ("2.9.1", "ok     torch: 2.9.1"),
        ("2.6.9+cpu", "wrong  torch: 2.6.9+cpu is older than 2.7, the oldest that works: pip"),
        ("9.0", "warn   torch: 9.0 is newer than"),
        (None, "wrong  torch: not installed: pip install medstrata"),
    ],
)
def test_versions(installed: str | None, line: str) -> None:
    assert packages.version_finding("torch", installed, "2.7").line.startswith(line)


def test_minimums_are_those_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = [f'{text} ; extra == "dicom"' for text in PROJECT["optional-dependencies"]["dicom"]]
    monkeypatch.setattr(
        packages.metadata, "requires", lambda _: [*PROJECT["dependencies"], *stated]
    )
    found = {one.name: one for one in packages.requirements()}
    assert found["torch"] == Requirement("torch", "2.7", None)
    assert found["jsonargparse"].minimum == "4.49"
    assert found["pydicom"].extra == "dicom"
    assert {*packages.TRAINING, *packages.READING} - {"torchvision"} <= found.keys()
    own = {"all", "bench", "dev"}
    assert packages.EXTRAS.keys() == PROJECT["optional-dependencies"].keys() - own


def test_a_crash_while_importing_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(*_: object, **__: object) -> SimpleNamespace:
        said = b'noise\n{"step": "torch", "facts": null}\n{"step": "torchvision"}\n'
        return SimpleNamespace(stdout=said, stderr=b"", returncode=-11)

    monkeypatch.setattr(children.subprocess, "run", crashed)
    answer = children.ask("child_imports", "torch", "torchvision", "timm")
    assert answer.errors == {"torchvision": "the process was ended by SIGSEGV"}
    said = lines(packages.library_findings(answer, Answer()))
    assert "ok     torch: " in said
    assert "wrong  torchvision: " in said
    assert "does not load (the process was ended by SIGSEGV): they must belong together" in said
    assert "wrong  timm: the process was ended by SIGSEGV: mend what stands above" in said


def test_a_real_child_reports_what_fails_and_what_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising.py").write_text("raise RuntimeError('operator does not exist')")
    (tmp_path / "crashing.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    answer = children.ask("child_imports", "json", "raising", "crashing", "csv")
    assert answer.facts.keys() == {"json"}
    assert answer.errors["raising"] == "RuntimeError: operator does not exist"
    assert answer.errors["crashing"] == "the process was ended by SIGABRT"


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", timeout, output=b'{"step": "timm"}\n')

    monkeypatch.setattr(children.subprocess, "run", late)
    assert "no answer" in children.ask("child_imports", "timm").errors["timm"]
    assert heard(b"", "No module named medstrata").errors == {"end": "No module named medstrata"}


@pytest.mark.parametrize(
    ("needs", "versions", "wrong"),
    [
        ("torch==2.7.0", ("2.7.0+cu126", "0.22.0"), False),
        ("torch==2.7.0", ("2.8.0", "0.22.0"), True),
        ("torch (>=2.14.0)", ("2.15.0", "0.29.2"), False),
        ("torch (>=2.14.0)", ("2.13.1", "0.29.2"), True),
    ],
)
def test_torchvision_is_built_for_one_torch(
    needs: str, versions: tuple[str, str], wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = dict(zip(("torch", "torchvision"), versions, strict=True))
    monkeypatch.setattr(packages, "installed_version", there.get)
    monkeypatch.setattr(packages.metadata, "requires", lambda _: ["numpy", needs])
    said = lines(packages.library_findings(Answer(), Answer()))
    assert (f"is built for {needs}, and torch is {versions[0]}" in said) == wrong


def test_two_opencvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed_version", lambda name: "4.9" if "cv" in name else None)
    assert "both install cv2" in lines(packages.library_findings(Answer(), Answer()))


@pytest.mark.parametrize(
    ("facts", "said", "line"),
    [
        ({}, torch(), "ok     device: no GPU"),
        ({}, None, "wrong  device: PyTorch does not load"),
        ({"nvidia": True}, torch(cuda="12.6"), "wrong  device: there is an NVIDIA GPU, but no dri"),
        ({"nvidia": True, "driver": "535.1"}, torch(), "is built without CUDA: install a build"),
        (
            {"nvidia": True, "driver": "450.2"},
            torch(cuda="12.6", why="The NVIDIA driver on your system is too old"),
            "(driver 450.2). The NVIDIA driver on your system is too old: update the driver",
        ),
        ({"nvidia": True, "driver": "550"}, torch(cuda="12.6", why="x"), "CUDA_VISIBLE_DEVICES"),
        (
            {},
            torch(available=True, gpus=[{"name": "GT 7", "bytes": GIB}], failure="no kernel image"),
            "wrong  device: GT 7 (1 GiB) is seen, but does not compute: no kernel image",
        ),
        (
            {},
            torch(available=True, gpus=[{"name": "V", "bytes": GIB}], native_bf16=False),
            "warn   bf16: the GPU has no bf16",
        ),
    ],
)
def test_device(facts: dict[str, Any], said: dict[str, Any] | None, line: str) -> None:
    assert line in lines(device_findings(machine(**facts), said))


@pytest.mark.parametrize(
    ("facts", "threads", "line"),
    [
        ({"quota": 2.0}, 8, "on which PyTorch starts 8 threads: export OMP_NUM_THREADS=2"),
        ({"quota": 0.5}, 1, "ok     processor: 8 cores, limited to 0.5 cores' worth"),
        ({"flags": frozenset({"sse2"})}, 4, "warn   instructions: no AVX2"),
        ({"flags": frozenset({"avx2"})}, 4, "AVX2; bf16 on the processor not native"),
        ({}, None, "ok     processor: 8 cores"),
    ],
)
def test_processor(facts: dict[str, Any], threads: int | None, line: str) -> None:
    assert line in lines(processor_findings(machine(**facts), threads))


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"free": GIB // 2}, "wrong  memory: 0.5 GiB can be had: end other programs"),
        ({"room": 2 * GIB}, "warn   memory: 2.0 GiB can be had, by the limit of this container"),
        ({"free": None, "room": None}, "ok     shared memory"),
        ({"shared": 64 * 2**20}, "warn   shared memory: 0.06 GiB free in /dev/shm, too little"),
    ],
)
def test_memory(facts: dict[str, Any], line: str) -> None:
    assert line in lines(memory_findings(machine(**facts)))


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_limits_of_control_groups(tmp_path: Path) -> None:
    second = put(
        tmp_path / "second",
        {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/step/memory.max": str(4 * GIB),
            "sys/fs/cgroup/job/step/memory.current": str(3 * GIB),
            "sys/fs/cgroup/job/step/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            "proc/meminfo": "MemTotal: 99 kB\nMemAvailable:    1024 kB\n",
            "proc/cpuinfo": "processor: 0\nflags\t\t: fpu avx2\n",
        },
    )
    facts = look(second)
    assert (facts.quota, facts.room, facts.free) == (1.5, 2 * GIB, 2**20)
    assert facts.flags == {"fpu", "avx2"}
    assert facts.usable_memory == 2**20
    first = put(
        tmp_path / "first",
        {
            "proc/self/cgroup": "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n",
            "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes": "0",
        },
    )
    assert (look(first).quota, look(first).room) == (2.0, GIB)
    assert look(tmp_path / "nothing").quota is None


def test_gpu_and_driver_are_found(tmp_path: Path) -> None:
    gpu = {"sys/bus/pci/devices/0/class": "0x030200\n", "sys/bus/pci/devices/0/vendor": "0x10de\n"}
    assert look(put(tmp_path, gpu)).nvidia
    assert look(tmp_path).driver is None
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n"
    assert look(put(tmp_path, {"proc/driver/nvidia/version": version})).driver == "535.104.05"


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize(
    ("owner", "name", "line"),
    [
        (os, "fsync", "making files durable (fsync) does not work"),
        (Path, "replace", "renaming over a file does not work"),
        (mmap, "mmap", "mapping files into memory (mmap) does not work"),
    ],
)
def test_what_a_disk_must_do(
    owner: Any, name: str, line: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, refuse)
    found = disks.disk_findings()
    assert [finding.level for finding in found] == ["wrong", "wrong"]
    assert line in found[0].line
    assert "set MEDSTRATA_CACHE to another folder" in found[1].line
    assert list(here.iterdir()) == []


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("free", "level"), [(10**8, "wrong"), (10**9, "warn"), (10**10, "ok")])
def test_room_on_disk(free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert disks.disk_findings()[0].level == level


@pytest.mark.usefixtures("here")
def test_a_slow_disk_and_one_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks.time, "perf_counter", iter(range(99)).__next__)
    monkeypatch.setattr(disks, "_SLOW", 1e8)
    assert "34 MB/s, which is slow" in disks.disk_findings()[0].line
    monkeypatch.setattr(disks.tempfile, "TemporaryDirectory", refuse)
    assert "Invalid argument: work in another folder" in disks.disk_findings()[0].line


def test_formats() -> None:
    answer = Answer({"JPEG": None}, {"DICOM, RLE": "decoded 9 levels off", "end": "SIGSEGV"})
    said = lines(codec_findings(answer))
    assert "ok     formats: decoded: JPEG" in said
    assert "wrong  format DICOM, RLE: decoded 9 levels off: pip install" in said
    assert "wrong  formats: SIGSEGV" in said


def test_every_format_is_really_decoded() -> None:
    answer = children.ask("child_decodes")
    assert not answer.errors
    assert len(answer.facts) == 8


def damaged_pixels(store: Path) -> None:
    shard = store / "images-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)


def damaged_manifest(store: Path) -> None:
    header = json.loads((store / "store.json").read_text())
    header["label_columns"]["finding"]["classes"].reverse()
    (store / "store.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda _: None, "ok     store: 48 images are as written"),
        (damaged_pixels, "wrong  store: 1 of 48 images are not what was written, such as "),
        (damaged_manifest, "wrong  store: the manifest is not the one that was written"),
        (lambda path: (path / "store.json").unlink(), "is not a store: make one with"),
    ],
)
def test_store(damage: Callable[[Path], None], line: str, store: Store) -> None:
    damage(store.path)
    said = lines(
        store_findings(str(store.path), children.ask("child_opens_store", str(store.path)))
    )
    assert line in said
    assert ("wrong" in said) == (not line.startswith("ok"))


def test_a_store_far_away_is_left_alone() -> None:
    said = lines(
        store_findings("s3://b/x.store", children.ask("child_opens_store", "s3://b/x.store"))
    )
    assert said.startswith("warn   store: s3://b/x.store is not looked at")


def test_a_device_that_does_not_answer_is_not_a_torch_that_does_not_load() -> None:
    said = lines(device_findings(machine(), None, "no answer in 120 s"))
    assert "PyTorch loads, but not its device: no answer in 120 s" in said
    assert "mend torch" not in said


def test_a_folder_that_may_not_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", denied)
    said = lines(disks.disk_findings())
    assert said.count("Permission denied") == 2
    assert "set MEDSTRATA_CACHE to another folder" in said
