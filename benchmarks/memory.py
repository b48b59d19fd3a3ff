"""Memory over the epochs of one pre-training run: flat, or growing?

    python benchmarks/memory.py [--epochs 50] [--quick]

A run of all losses' machinery (Barlow Twins, monitors, checkpoints, data loader) on small images,
in this process, while a thread notes the resident memory. What grows with the epochs shows as a
difference between the second and the last fifth of the run; the first holds the warm-up.
"""

import argparse
import tempfile
import threading
from pathlib import Path
from statistics import median

from harness import Section, Target, held_memory, read_result, write_result
from medstrata.data.prepare.prepare import prepare
from medstrata.data.synthetic import make_images
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from wording import paragraphs, table

_EVERY = 0.25  # seconds between two looks


def watch(stop: threading.Event, seen: list[float]) -> None:
    while not stop.wait(_EVERY):
        seen.append(1024 * held_memory("VmRSS"))


def section() -> Section:
    """Memory in fifths of the run."""
    result = read_result("memory")
    words = (
        f"`python benchmarks/memory.py`: {result['epochs']} epochs of `fair/moco_bt` on a "
        "ResNet-10-T, 64 px, batch 64, with monitors and a checkpoint an epoch; resident memory, "
        "median of each fifth of the run."
    )
    parts = [f"{value:,.0f}" for value in result["MiB"]]
    shown = table(["fifth of the run", *"12345"], [["resident MiB", *parts]])
    growth = 100 * result["growth"]
    what = "memory of a run, from the second fifth of its epochs to the last"
    aim = Target(what, 2, growth, "%", at_most=True, why="what grew has not been looked for")
    return Section("Memory over epochs", paragraphs(words, shown), [aim])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="five epochs, no file")
    arguments = parser.parse_args()
    epochs = 5 if arguments.quick else arguments.epochs
    with tempfile.TemporaryDirectory() as folder:
        labels = make_images(Path(folder) / "images", images=600, size=64)
        store = prepare(labels.parent, Path(folder) / "store", labels=labels, size=64)
        settings = recipe(
            "fair/moco_bt",
            backbone="resnet10t",
            epochs=epochs,
            batch_size=64,
            intermediate={"projector_size": 512},
        )
        stop, seen = threading.Event(), []
        watcher = threading.Thread(target=watch, args=(stop, seen))
        watcher.start()
        pretrain(store, settings, Path(folder) / "run")
        stop.set()
        watcher.join()
    fifth = len(seen) // 5
    fifths = [median(seen[number * fifth : (number + 1) * fifth]) for number in range(5)]
    growth = fifths[4] / fifths[1] - 1
    print("resident MiB, median of each fifth: " + ", ".join(f"{value:.0f}" for value in fifths))
    print(f"from the second fifth to the last: {growth:+.1%}; most {max(seen):.0f} MiB")
    if not arguments.quick:
        result = {"epochs": epochs, "MiB": fifths, "growth": growth, "most": max(seen)}
        print(write_result("memory", result))


if __name__ == "__main__":
    main()
