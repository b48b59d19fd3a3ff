"""Shared by the benchmarks: interleaved timing, a record of the machine, result files."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from medstrata.runtime.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "lightly", "timm", "numpy", "opencv-python-headless", "pillow")


class Target(NamedTuple):
    """An aim that was set before anything was measured."""

    what: str  # what is compared with what, on what
    wanted: float
    measured: float | None  # None: not measured on this machine
    unit: str  # "x", "%", "samples/s"
    at_most: bool = False  # the aim is not to exceed `wanted`
    why: str = ""  # what a profile says stands in the way, where it is missed
    on: str = ""  # the processor, where those of one section differ

    @property
    def verdict(self) -> Literal["met", "missed", "not measured here"]:
        """What became of the aim."""
        if self.measured is None:
            return "not measured here"
        reached = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        return "met" if reached else "missed"


class Section(NamedTuple):
    """One part of docs/performance.md, made from one benchmark's result files."""

    title: str
    text: str  # Markdown: the command, what was measured, tables
    targets: Sequence[Target] = ()
    figures: Mapping[str, "Figure"] = {}  # stem -> plot; the text places it by wording.picture
    claim: str = ""  # one sentence with its figure for the top of the page; few sections make one
    processors: str = ""  # that its result files come from, in short; the page fills it in


def in_turns(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Call measurements in turns, so that a busy moment of the machine falls on all of them.

    Args:
        measures: What returns one measurement, by name; each is called once more to warm up.
        repeats: Measurements of each that are kept.

    Returns:
        All measurements, by name.
    """
    values: dict[str, list[float]] = {name: [] for name in measures}
    for measure in measures.values():
        measure()
    for turn in range(repeats):
        names = list(measures) if turn % 2 == 0 else list(reversed(measures))
        for name in names:
            values[name].append(measures[name]())
    return values


def interleave(
    tasks: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of tasks that take turns.

    Args:
        tasks: What to time, by name; each runs once beforehand to warm up.
        repeats: Timed runs of each.
        clock: Seconds; `time.process_time` counts only the processor time of this process.

    Returns:
        Seconds of every run, by name.
    """

    def timed(task: Callable[[], object]) -> float:
        started = clock()
        task()
        return clock() - started

    return in_turns({name: partial(timed, task) for name, task in tasks.items()}, repeats)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and extremes of repeated measurements (at least two)."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    ends = {"lowest": min(values), "highest": max(values)}
    return {"median": median, "lower_quartile": low, "upper_quartile": high} | ends


def held_memory(field: Literal["VmRSS", "VmHWM"]) -> float:
    """GiB that this process holds (VmRSS) or has held at the most (VmHWM); Linux alone tells.

    Not getrusage: its maximum begins with that of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**20


def cpu_precision() -> Literal["no", "bf16"]:
    """What `--precision auto` takes on this machine's processor, whatever GPU there is."""
    from medstrata.runtime.devices import processor_has_native_bf16

    return "bf16" if processor_has_native_bf16() else "no"


def environment() -> dict[str, Any]:
    """What a figure depends on besides the settings: machine, load, code, versions, date."""
    import torch

    from medstrata.runtime.devices import has_native_bf16

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    models = [line for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "platform": platform.platform(),
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "native_bf16": has_native_bf16(),  # of the GPU where there is one
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that figures depend on, of those that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str | None:
    """The commit of this checkout, with "-dirty" where code differs from it; None outside git."""
    root, git = RESULTS.parent.parent, shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    # Results that other benchmarks have just written are no other code.
    code = ["--", "src", "benchmarks", ":!benchmarks/results"]
    name = subprocess.run(
        [git, "describe", "--always"], cwd=root, capture_output=True, text=True, check=False
    )
    changed = subprocess.run([git, "diff", "--quiet", "HEAD", *code], cwd=root, check=False)
    if name.returncode:
        return None
    return name.stdout.strip() + ("-dirty" if changed.returncode else "")


def write_result(name: str, payload: Mapping[str, Any]) -> Path:
    """Write `results/<name>.json`: the environment, then the payload; returns the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {"environment": environment(), **payload}
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return path


def read_result(name: str) -> dict[str, Any]:
    """What `write_result` wrote last under a name.

    Raises:
        FileNotFoundError: nothing was measured yet.
    """
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return result


def find_result(name: str) -> dict[str, Any] | None:
    """What `write_result` wrote last under a name; None where nothing was measured yet."""
    try:
        return read_result(name)
    except FileNotFoundError:
        return None
