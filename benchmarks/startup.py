"""How long the command line takes to answer, against importing PyTorch or lightly's losses alone.

    python benchmarks/startup.py [--repeats 5] [--quick]

Wall time of whole processes in turns: help, version, help of every command, and an option that does
not exist, which is refused before anything heavy is imported.
"""

import argparse
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec

from harness import Section, Target, in_turns, read_result, spread, write_result
from medstrata.cli.main import COMMANDS

TORCH, LIGHTLY = "python -c 'import torch'", "python -c 'import lightly.loss'"
HELP, UNKNOWN = "medstrata --help", "medstrata pretrain --no-such-option"


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True)
    taken = time.perf_counter() - started
    # A command that failed to start would look quick; 2 is a refused option.
    assert done.returncode in (0, 2), done.stderr.decode()
    return taken


def commands(*, quick: bool) -> dict[str, list[str]]:
    """Words after `python`, by what a user types."""
    ours = ["-m", "medstrata"]
    found = {HELP: [*ours, "--help"], "medstrata --version": [*ours, "--version"]}
    names = list(COMMANDS)[:2] if quick else list(COMMANDS)
    found |= {f"medstrata {name} --help": [*ours, name, "--help"] for name in names}
    found[UNKNOWN] = [*ours, "pretrain", "s.store", "--out", "r", "--no-such-option"]
    found["python -c pass"] = ["-c", "pass"]
    found[TORCH] = ["-c", "import torch"]
    if find_spec("lightly"):
        found[LIGHTLY] = ["-c", "import lightly.loss"]  # `import lightly` alone loads nothing
    return found


def section() -> Section:
    taken = read_result("startup")["seconds"]
    rows = "\n".join(
        f"| `{name}` | {one['median']:.2f} s | {one['lowest']:.2f} to {one['highest']:.2f} |"
        for name, one in taken.items()
    )
    slowest = max(one["median"] for name, one in taken.items() if name.startswith("medstrata"))
    return Section(
        title="Start-up",
        text=(
            "`python benchmarks/startup.py`: wall time of whole processes, in turns. No answer of "
            "the command line that needs no images imports PyTorch or NumPy.\n\n"
            f"| process | median | range |\n|---|---|---|\n{rows}\n"
        ),
        targets=[
            Target(HELP, 0.5, taken[HELP]["median"], "s", at_most=True),
            Target(
                "slowest answer of the command line, as a share of importing PyTorch",
                50.0,
                100 * slowest / taken[TORCH]["median"],
                "%",
                at_most=True,
            ),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few commands, no file")
    arguments = parser.parse_args()
    measures = {
        name: partial(seconds, words) for name, words in commands(quick=arguments.quick).items()
    }
    values = in_turns(measures, 2 if arguments.quick else arguments.repeats)
    taken = {name: spread(one) for name, one in values.items()}
    for name, one in taken.items():
        print(f"{name:<40}{one['median']:6.2f} s   {one['lowest']:.2f} - {one['highest']:.2f}")
    if not arguments.quick:
        print(write_result("startup", {"seconds": taken}))


if __name__ == "__main__":
    main()
