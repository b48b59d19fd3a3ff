"""How every benchmark measures: in turns with its peer, recording the machine, into a file."""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from medstrata.runtime.console import say
from medstrata.runtime.files import write_text
from section import Section, Target, rows_of

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "lightly", "timm", "numpy", "opencv-python-headless", "pillow")
MACHINE = ("processor", "vector_instructions", "native_bf16", "cores", "gpu", "packages")
KEPT = "measured with these versions, kept (--again: anew)"
Result = dict[str, Any]


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
        names = list(measures) if turn % 2 == 0 else list(measures)[::-1]
        for name in names:
            values[name].append(measures[name]())
    return values


def interleave(
    tasks: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of tasks that take turns, as `in_turns`.

    `clock` gives seconds; `time.process_time` counts only the processor time of this process.
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


def spread_of_ratio(values: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Of values over those measured in the same turns."""
    return spread([one / other for one, other in zip(values, others, strict=True)])


def in_own_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What an importable function returns in a fresh process, whose peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


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


def environment(device: str = "cpu") -> Result:
    """What a figure depends on besides the settings: machine, load, code, versions, date."""
    import torch

    from medstrata.runtime.devices import has_native_bf16

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    models = [line for line in lines if line.startswith("model name")]
    on_gpu = device == "cuda"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "platform": platform.platform(),
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "native_bf16": has_native_bf16() if on_gpu else cpu_precision() == "bf16",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "python": platform.python_version(),
        "packages": {name: one.version for name in PACKAGES for one in distributions(name=name)},
    }


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


def write_result(name: str, payload: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write `<name>.json` into `results` or another folder; returns the path."""
    folder = RESULTS if folder is None else folder
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    write_text(path, json.dumps(payload, indent=2, ensure_ascii=False) + "\n")
    return path


def read_results(benchmark: str) -> list[Result]:
    """The result files of a benchmark, `<benchmark>.json` and `<benchmark>-*.json`, by name."""
    paths = sorted([*RESULTS.glob(f"{benchmark}.json"), *RESULTS.glob(f"{benchmark}-*.json")])
    return [json.loads(path.read_text("utf-8")) for path in paths]


def is_of(result: Result, here: Result) -> bool:
    """Whether a result comes from such a machine and the same versions of packages."""
    then = result["environment"]
    return all(then.get(key) == here[key] for key in MACHINE)


def measure_and_keep(
    name: str,
    words: str,
    measure: Callable[[bool], Result],
    section: Callable[[list[Result]], Section],
) -> None:
    """What a benchmark does as a program: measure, print its section, write its result file.

    Args:
        name: Of the result file.
        words: The benchmark's docstring.
        measure: Takes whether sizes are to be tiny; returns what was found.
        section: Makes the benchmark's part of docs/results/performance.md.
    """
    given = command_line(words).parse_args()
    single_thread()
    here = environment()
    if not given.quick and not given.again and any(is_of(one, here) for one in read_results(name)):
        say(f"{name}: {KEPT}")
        return
    result = {"environment": here} | measure(given.quick)
    report(section([result]))
    if not given.quick:
        say(f"written to {write_result(name, result)}")


def command_line(words: str) -> argparse.ArgumentParser:
    """The options that every benchmark has, below its docstring."""
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, in seconds; no file")
    parser.add_argument("--again", action="store_true", help="also what has been measured here")
    return parser


def single_thread() -> None:
    """Keep PyTorch and OpenCV to one thread: ratios are steadier, and figures are of one core."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def report(section: Section) -> None:
    """Print a section, and its targets beside what was measured."""
    print(f"\n{section.text}\n")
    print_targets(section.targets)


def print_targets(targets: Sequence[Target]) -> None:
    """A line for each: verdict, what, measured value, aim."""
    for what, aim, measured, _, verdict in rows_of(targets):
        print(f"{verdict.partition(':')[0]}: {what}: {measured} ({aim})")
