"""Is this machine ready: Python, libraries, GPU, processor, memory, formats, disks and extras.

A line each, with what to do about what is wrong. No network call. Exit status 1 if something is
wrong.
"""

import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.console import busy, put
from medstrata.runtime.files import atomic_file
from medstrata.runtime.machine import (
    default_threads,
    free_memory,
    processor_flags,
    usable_cores,
    usable_memory,
)

_PATIENCE = 240  # seconds; a first import from a slow disk takes many
_GIB = 2**30
_GB = 10**9
_OWN_EXTRAS = ("all", "bench", "dev", "docs")  # for who works on medstrata itself


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--store", type=str | None, help="A store to open and spot-check as well.")
    parser.add_argument("--json", action="store_true", help="Print the checks as JSON.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    with busy("looking at libraries, formats and disks"):
        checks = check_machine(arguments.store)
    wrong = sum(check.level == "wrong" for check in checks)
    if arguments.json:
        put(json.dumps([asdict(check) for check in checks], indent=2) + "\n")
    else:
        put("".join(f"{check.line}\n" for check in checks))
        put(f"{wrong} wrong\n" if wrong else "nothing is wrong\n")
    if wrong:
        sys.exit(1)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        level: `ok`; `warn`, it works but not as well as it could; `wrong`, something will fail.
        subject: What was looked at.
        words: What was seen.
        remedy: What to do about it; empty where nothing needs doing.
    """

    level: Literal["ok", "warn", "wrong"]
    subject: str
    words: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The check on one line."""
        words = " ".join(f"{self.words}{': ' if self.remedy else ''}{self.remedy}".split())
        return f"{self.level:<6} {self.subject}: {words}"


@dataclass
class ChildReport:
    """What a process of its own has said: of each step its facts, or why it failed."""

    facts: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def of(self, prefix: str) -> tuple[list[str], dict[str, str]]:
        """Names of the steps that begin with a word and went well, and those that failed."""
        errors = {step: why for step, why in self.errors.items() if step.startswith(prefix)}
        names = [step for step in self.facts if step.startswith(prefix)]
        return [name.removeprefix(prefix) for name in names], errors


def check_machine(store: str | None = None) -> list[Check]:
    """Look at this machine, and at a store. Nothing is sent anywhere, and nothing stays written.

    Args:
        store: A store to open and spot-check as well.
    """
    report = ask(*([] if store is None else [store]))
    return [
        check_python(platform.python_version()),
        *check_versions(),
        *check_imports(report),
        *check_device(report),
        *check_processor(report.facts.get("device", {}).get("threads")),
        *check_memory(),
        *check_formats(report),
        check_folder("disk here", Path.cwd(), "work in another folder"),
        check_folder("cache", cache_folder(), "set MEDSTRATA_CACHE to another folder"),
        *check_extras(),
        *([] if store is None else check_store(report)),
    ]


def ask(*words: str) -> ChildReport:
    """Run the child and listen: a crash there names the step that it came from."""
    # -P: a torch.py in the current folder is not what the program itself would import.
    command = [sys.executable, "-P", "-m", "medstrata.cli.doctor_child", *words]
    try:
        done = subprocess.run(  # noqa: S603  (this Python, a module of this package)
            command, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired as late:
        return read_report(late.stdout or b"", f"no answer in {_PATIENCE} s")
    ending = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode < 0:
        ending = f"the process was ended by {signal.Signals(-done.returncode).name}"
    return read_report(done.stdout, ending if done.returncode else "")


def read_report(output: bytes, ending: str) -> ChildReport:
    """What the child's lines mean; what libraries print there besides is passed over."""
    report, step_begun = ChildReport(), ""
    for line in output.splitlines():
        try:
            message = json.loads(line)
            step = message["step"]
        except (ValueError, TypeError, KeyError):
            continue
        step_begun = step if len(message) == 1 else ""
        if "facts" in message:
            report.facts[step] = message["facts"]
        elif "error" in message:
            report.errors[step] = message["error"]
    if step_begun or ending:
        report.errors[step_begun or "import medstrata"] = ending or "ended in the middle of it"
    return report


def check_python(version: str) -> Check:
    """Whether this Python is one of those that are tested."""
    about = metadata.metadata("medstrata")
    classifiers = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or []]
    tested, wanted = [one for one in classifiers if one[:2] == "3."], about["Requires-Python"]
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("wrong", "Python", f"{version} is not {wanted}", "install one that is")
    if not SpecifierSet(f"<={tested[-1]}.99").contains(version, prereleases=True):
        mend = f"if something fails, install Python {tested[-1]}"
        words = f"{version}, newer than {tested[-1]}, the newest tested"
        return Check("warn", "Python", words, mend)
    return Check("ok", "Python", f"{version} ({sys.executable})")


def _requirements(name: str, extra: str = "") -> Iterator[Requirement]:
    """What a distribution asks for here, by itself or for an extra alone."""
    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        here, always = (
            wanted.marker is None or wanted.marker.evaluate({"extra": one}) for one in (extra, "")
        )
        if here and always == (not extra):
            yield wanted


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _faults(owner: str, wanted: Requirement) -> Iterator[str]:
    version = _version(wanted.name)
    if version is None:
        yield f"{wanted.name} is not installed"
    elif not wanted.specifier.contains(version, prereleases=True):
        yield f"{owner} needs {wanted.name}{wanted.specifier}, and it is {version}"


def check_versions() -> Iterator[Check]:
    """Whether the libraries are there in versions that go with medstrata and with each other."""
    wanted = list(_requirements("medstrata"))
    names = {one.name for one in wanted} | {"torchvision"}
    faults = [fault for one in wanted for fault in _faults("medstrata", one)]
    for name in sorted(filter(_version, names)):
        needed = [one for one in _requirements(name) if one.name in names]
        faults += [fault for one in needed for fault in _faults(f"{name} {_version(name)}", one)]
    mend = "pip install --upgrade medstrata torch torchvision"
    yield from (Check("wrong", "versions", fault, mend) for fault in faults)
    if not faults:
        shown = ", ".join(f"{name} {_version(name)}" for name in ("torch", "timm", "numpy"))
        yield Check("ok", "versions", f"{len(wanted)} libraries that go together ({shown})")


def check_imports(report: ChildReport) -> Iterator[Check]:
    """Whether the libraries load."""
    names, errors = report.of("import ")
    for step, why in errors.items():
        mend = "pip install --force-reinstall torch torchvision, or the library that is named"
        yield Check("wrong", step, why, mend)
    if not errors:
        yield Check("ok", "imports", f"{len(names)} libraries load")


def check_device(report: ChildReport) -> Iterator[Check]:
    """Whether there is a GPU, and PyTorch can use it."""
    facts = report.facts.get("device")
    if facts is None:
        why = report.errors.get("device", "PyTorch was not reached: mend what stands above first")
        mend = "set CUDA_VISIBLE_DEVICES= (empty) to do without a GPU"
        yield Check("wrong", "device", why, mend)
        return
    expected = shutil.which("nvidia-smi") is not None
    gpus = ", ".join(facts["gpus"])
    if gpus and not facts["failure"]:
        yield Check("ok", "device", f"{gpus}, CUDA {facts['cuda']}")
        if not facts["native_bf16"]:
            words = "the GPU has no bf16 of its own: --precision auto computes in fp32, slower"
            yield Check("warn", "bf16", words, "nothing to mend; newer GPUs have it")
    elif gpus:
        words = f"{gpus} is seen, but does not compute: {facts['failure']}"
        mend = "install a build of torch that knows this GPU, or update the driver"
        yield Check("wrong", "device", words, mend)
    elif "too old" in facts["failure"] or (expected and facts["cuda"]):
        mend = "look at nvidia-smi and CUDA_VISIBLE_DEVICES; update the driver, or install a build"
        words = f"PyTorch does not see the GPU: {facts['failure']}"
        yield Check("wrong", "device", words, f"{mend} of torch for an older CUDA")
    elif expected:
        words = "there is an NVIDIA GPU, but torch is built without CUDA"
        yield Check("wrong", "device", words, "install a build of torch with CUDA")
    else:
        yield Check("ok", "device", "no GPU: the processor is used")


def check_processor(threads: int | None) -> Iterator[Check]:
    """Cores, threads and instruction sets.

    Args:
        threads: That PyTorch starts; None where it does not load.
    """
    words, flags = f"{usable_cores():g} cores for this process", processor_flags()
    if flags and flags.isdisjoint(("avx2", "asimd")):
        mend = "train elsewhere; in a virtual machine, let it see the host's processor"
        yield Check("warn", "instructions", "no AVX2: many times slower", mend)
    if threads is not None and threads > default_threads():
        words += f", on which PyTorch starts {threads} threads"
        yield Check("warn", "processor", words, f"export OMP_NUM_THREADS={default_threads()}")
    else:
        yield Check("ok", "processor", words)


def check_memory() -> Iterator[Check]:
    """Memory that can be had, and shared memory."""
    free = free_memory()
    words = f"{free / _GIB:.1f} of {usable_memory() / _GIB:.1f} GiB can be had"
    mend = "end other programs, or raise the limit of the container or job"
    if free < _GIB:
        yield Check("wrong", "memory", words, f"{mend}: at least 1 GiB is needed")
    elif free < 4 * _GIB:
        mend += ", or take a small --batch_size and --contrastive.queue_size"
        yield Check("warn", "memory", words, mend)
    else:
        yield Check("ok", "memory", words)
    shared = Path("/dev/shm")  # noqa: S108  (looked at, not written to)
    if shared.is_dir() and (left := shutil.disk_usage(shared).free) < _GIB // 4:
        words = f"{left / _GIB:.2f} GiB free in {shared}, too little for several processes"
        mend = "start the container with --shm-size=1g, or delete what lies there"
        yield Check("warn", "shared memory", words, mend)


def check_formats(report: ChildReport) -> Iterator[Check]:
    """Whether each image format decodes to what was encoded."""
    names, errors = report.of("decode ")
    for step, why in errors.items():
        library = "'medstrata[dicom]'" if "DICOM" in step else "pillow opencv-python-headless"
        yield Check("wrong", step, why, f"pip install --force-reinstall {library}")
    if names:
        yield Check("ok", "formats", f"decoded: {', '.join(names)}")


def check_folder(subject: str, folder: Path, elsewhere: str) -> Check:
    """Whether files can be written, made durable, renamed and mapped, as stores and runs need."""
    try:
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryDirectory(dir=there, prefix=".medstrata-doctor-") as trial:
            _write(Path(trial) / "trial")
    except (OSError, ValueError) as error:
        words = f"{folder}: files cannot be written, synced, renamed or mapped ({error})"
        return Check("wrong", subject, words, f"{elsewhere}, or mend its rights or mount")
    words, mend = f"{folder}: {free / _GB:.1f} GB free", f"make room, or {elsewhere}"
    if free < 5 * _GB:
        return Check("wrong" if free < _GB // 5 else "warn", subject, words, mend)
    return Check("ok", subject, words)


def _write(file: Path) -> None:
    block = os.urandom(2**20)
    for _ in range(2):  # the second time over a file that is there
        with atomic_file(file) as temporary:
            temporary.write_bytes(block)
    with file.open("rb") as written, mmap.mmap(written.fileno(), 0, access=mmap.ACCESS_READ) as m:
        if m[:] != block:
            raise OSError("it gives other bytes than were written")


def check_extras() -> Iterator[Check]:
    """Which optional extras are there whole; one that is not installed is no fault."""
    there, missing = [], []
    for extra in metadata.metadata("medstrata").get_all("Provides-Extra") or []:
        needed = list(_requirements("medstrata", extra))
        if extra in _OWN_EXTRAS or not any(_version(one.name) for one in needed):
            missing += [extra] * (extra not in _OWN_EXTRAS)
            continue
        faults = [fault for one in needed for fault in _faults("medstrata", one)]
        mend = f"pip install --upgrade 'medstrata[{extra}]'"
        yield from (Check("warn", f"extra {extra}", fault, mend) for fault in faults)
        there += [extra] * (not faults)
    words = f"installed: {', '.join(there) or 'none'}"
    if missing:
        words += f"; not installed: {', '.join(missing)} (pip install 'medstrata[NAME]')"
    yield Check("ok", "extras", words)


def check_store(report: ChildReport) -> Iterator[Check]:
    """Whether a store opens and holds what its manifest says."""
    mend = "prepare it again with --overwrite"
    facts = report.facts.get("store")
    if facts is None:
        why = report.errors.get("store", "it was not reached: mend what stands above first")
        yield Check("warn" if "no network call" in why else "wrong", "store", why)
        return
    yield from (Check("wrong", "store", fault, mend) for fault in facts["faults"])
    if not facts["faults"]:
        yield Check("ok", "store", facts["words"])
