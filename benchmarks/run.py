"""Run every benchmark, then write the page: what `make bench` does.

    python benchmarks/run.py [--quick] [--again]

Goes on when one fails, and says which at the end. What this machine has measured with the same
versions is not measured again unless asked (`--again`, or AGAIN=1 before `make bench`). Ctrl-C ends
it; what was finished is kept, and the next run goes on from there. Sums take one thread unless
OMP_NUM_THREADS says otherwise. `--quick` tries each on the smallest sizes and writes nothing.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import knn
from harness import environment, read_result
from medstrata.runtime.console import say
from step import GRID, TARGETS, precision
from step_page import result_name
from wording import hardware

FOLDER = Path(__file__).parent


class Benchmark(NamedTuple):
    """One script of this folder."""

    script: str
    why: str  # what it answers
    minutes: float  # about, on two cores
    results: tuple[str, ...] = ()  # names that it writes; without any, that of the script

    def records(self) -> tuple[str, ...]:
        """Names of its result files."""
        return self.results or (Path(self.script).stem,)


NATIVE = precision() == "bfloat16"
STEP = tuple(result_name(case, precision()) for case in (*TARGETS, *GRID))
# What is claimed comes first, then what takes long.
SEQUENCE = (
    Benchmark("step.py", "the training step against its peers", 35 if NATIVE else 110, STEP),
    Benchmark("gpu.py", "the step on a GPU, where there is one", 10),
    Benchmark("views.py", "two views of an image", 2),
    Benchmark("bootstrap.py", "intervals over patients", 2),
    Benchmark("similarity.py", "similarity of features", 25),
    Benchmark("knn.py", "a vote of nearest neighbours", 4, (knn.RECORDS[NATIVE],)),
    Benchmark("prepare.py", "from files to a store", 12),
    Benchmark("audit.py", "the search for copies", 6),
    Benchmark("loading.py", "the loader, and waiting for it", 3),
    Benchmark("memory.py", "memory over the epochs", 4),
    Benchmark("startup.py", "how soon the command line answers", 3),
)
PAGE = Benchmark("page.py", "docs/performance.md", 0.1)
QUICKER = 10  # how many times as fast `--quick` is, about


def perform(sequence: Sequence[Benchmark], folder: Path, *, quick: bool = False) -> list[Benchmark]:
    """Run scripts one after another, whatever becomes of each.

    Args:
        sequence: What to run, in order.
        folder: Where the scripts lie.
        quick: Whether each gets `--quick`.

    Returns:
        Those that failed.
    """
    failed = []
    started = time.monotonic()
    for place, benchmark in enumerate(sequence):
        gone = (time.monotonic() - started) / 60
        ahead = sum(other.minutes for other in sequence[place:]) / (QUICKER if quick else 1)
        times = f"{gone:.0f} min gone, about {ahead:.0f} left"
        say(f"\n[{place + 1} of {len(sequence)}] {benchmark.script}: {benchmark.why} ({times})")
        if _run([str(folder / benchmark.script), *(["--quick"] if quick else [])]):
            say(f"{benchmark.script} failed; going on")
            failed.append(benchmark)
    return failed


def _run(words: Sequence[str]) -> int:
    """Run a script; its exit status. An interrupt is passed on, and given time to tidy up."""
    child = subprocess.Popen(
        [sys.executable, *words],
        env={"OMP_NUM_THREADS": "1", **os.environ},
        process_group=0,  # a Ctrl-C at the terminal reaches it once, through us
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        os.killpg(child.pid, signal.SIGINT)
        child.wait()
        raise


def measured(benchmark: Benchmark, here: Mapping[str, Any]) -> bool:
    """Whether all its results come from such a machine and the same versions of packages.

    Args:
        benchmark: What would be run.
        here: `harness.environment` now.
    """
    try:
        records = [read_result(name)["environment"] for name in benchmark.records()]
    except FileNotFoundError:
        return False
    return all(
        hardware(record) == hardware(here) and record["packages"] == here["packages"]
        for record in records
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smallest sizes, nothing written")
    parser.add_argument("--again", action="store_true", help="also what has been measured here")
    given = parser.parse_args(words)
    sequence = list(SEQUENCE)
    if not given.quick and not given.again:
        here = environment()
        sequence = [benchmark for benchmark in SEQUENCE if not measured(benchmark, here)]
        for benchmark in SEQUENCE:
            if benchmark not in sequence:
                say(f"{benchmark.script}: measured with these versions, kept (AGAIN=1: anew)")
    if not given.quick:
        sequence.append(PAGE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        failed = perform(sequence, FOLDER, quick=given.quick)
    except KeyboardInterrupt:
        say("stopped; what was finished is kept")
        return 130
    say("\n" + (f"failed: {', '.join(one.script for one in failed)}" if failed else "all ran"))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
