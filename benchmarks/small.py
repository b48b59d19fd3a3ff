"""What needs one number each: how soon the command line answers, waiting for data, memory of a run.

    python benchmarks/small.py [--quick]

Start-up is wall time of whole processes in turns: the slowest kind of answer, an option that does
not exist, against `import torch`, which no answer may wait for. Waiting and memory are those of one
run of `pretrain` with Barlow Twins, monitors and checkpoints in this process: the share of its time
that the step waited for its batch (metrics.jsonl, all epochs but the first), and resident memory in
the second and the last fifth of the run; the first holds the warm-up.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from statistics import median

from harness import Result, held_memory, in_turns, measure_and_keep, spread
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.synthetic.chest import make_images
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from medstrata.runtime.memory import keep_freed_memory
from section import Section, Target, paragraphs, processor, table

HELP, REFUSAL = "medstrata --help", "medstrata pretrain --no-such-option"
TORCH = "python -c 'import torch'"
COMMANDS = {
    HELP: ["-m", "medstrata", "--help"],
    REFUSAL: ["-m", "medstrata", "pretrain", "s.store", "--out", "r", "--no-such-option"],
    TORCH: ["-c", "import torch"],
}


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True)
    taken = time.perf_counter() - started
    # A command that failed to start would look quick; 2 is a refused option.
    assert done.returncode in (0, 2), done.stderr.decode()
    return taken


def watch(stop: threading.Event, seen: list[float]) -> None:
    while not stop.wait(0.25):
        seen.append(1024 * held_memory("VmRSS"))


def measure_run(epochs: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        labels = make_images(Path(folder) / "images", images=600, size=64)
        store = prepare(
            labels.parent, Path(folder) / "store", PrepareSettings(labels=labels, size=64)
        )
        settings = recipe(
            "fair/moco_bt",
            backbone="resnet10t",
            epochs=epochs,
            batch_size=64,
            intermediate={"projector_size": 512},
        )
        keep_freed_memory()  # as the command does
        stop = threading.Event()
        seen: list[float] = []
        watcher = threading.Thread(target=watch, args=(stop, seen))
        watcher.start()
        run = pretrain(store, settings, Path(folder) / "run")
        stop.set()
        watcher.join()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    waits = [line["time"]["data_wait"] for line in lines if line["event"] == "epoch"]
    fifth = len(seen) // 5
    second, last = (median(seen[place * fifth : (place + 1) * fifth]) for place in (1, 4))
    return {
        "epochs": epochs,
        "data_wait": median(waits[1:]),
        "second_mib": second,
        "last_mib": last,
    }


def measure(quick: bool) -> Result:
    taken = in_turns(
        {name: partial(seconds, words) for name, words in COMMANDS.items()}, 2 if quick else 5
    )
    return {
        "seconds": {name: spread(runs) for name, runs in taken.items()},
        "run": measure_run(4 if quick else 50),
    }


def section(results: list[Result]) -> Section:
    """The numbers, each with its aim."""
    found = results[-1]
    on, run = processor(found["environment"]), found["run"]
    taken = {name: times["median"] for name, times in found["seconds"].items()}
    words = (
        "`python benchmarks/small.py`: wall time of whole processes, in turns; then one run of "
        f"`pretrain`, {run['epochs']} epochs of `fair/moco_bt` with a ResNet-10-T, 64 px, batch "
        "64, with monitors and a checkpoint an epoch. No answer of the command line that needs no "
        "images imports PyTorch or NumPy."
    )
    rows = [[f"`{name}`", f"{seconds:.2f} s"] for name, seconds in taken.items()]
    rows.append(["time of the run waited for data", f"{run['data_wait']:.2%}"])
    memory = f"{run['second_mib']:,.0f}, {run['last_mib']:,.0f} MiB"
    rows.append(["resident memory, second and last fifth of the run", memory])
    growth = 100 * (run["last_mib"] / run["second_mib"] - 1)
    aims = {
        f"{HELP}, share of importing PyTorch": (50, 100 * taken[HELP] / taken[TORCH]),
        f"{REFUSAL}, share of importing PyTorch": (50, 100 * taken[REFUSAL] / taken[TORCH]),
        "time of a run waited for data": (2, 100 * run["data_wait"]),
        "memory of a run, from the second fifth of its epochs to the last": (2, growth),
    }
    targets = [
        Target(what, wanted, measured, "%", on, at_most=True, why="not looked into")
        for what, (wanted, measured) in aims.items()
    ]
    return Section("One number each", paragraphs(words, table(["", "measured"], rows)), targets)


def main() -> None:
    measure_and_keep("small", __doc__, measure, section)


if __name__ == "__main__":
    main()
