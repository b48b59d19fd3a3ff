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
from collections.abc import Iterable, Sequence
from pathlib import Path

from medstrata.runtime.console import say

FOLDER = Path(__file__).parent
# In the order of docs/results/performance.md, with minutes on two quiet cores.
BENCHMARKS = {
    "step": 60,
    "views": 2,
    "prepare": 12,
    "audit": 6,
    "bootstrap": 2,
    "knn": 4,
    "small": 5,
}


def perform(names: Iterable[str], folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Run scripts of a folder in order, whatever becomes of each; names those that failed."""
    failed = []
    for name in names:
        say(f"\n{name}.py, about {BENCHMARKS.get(name, 0)} min in full")
        if _run([str(folder / f"{name}.py"), *options]):
            say(f"{name}.py failed; going on")
            failed.append(name)
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


def main() -> int:
    """Run what is asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smallest sizes, nothing written")
    parser.add_argument("--again", action="store_true", help="also what has been measured here")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    try:
        if given.quick:
            failed = perform(BENCHMARKS, FOLDER, ["--quick"])
        else:
            failed = perform(BENCHMARKS, FOLDER, ["--again"] if given.again else [])
            failed += perform(["page"], FOLDER)
    except KeyboardInterrupt:
        say("stopped; what was finished is kept")
        return 130
    say(f"failed: {', '.join(failed)}" if failed else "all ran")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
