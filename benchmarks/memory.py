"""Memory over the epochs of one pre-training run: flat, or growing?

    python benchmarks/memory.py [--epochs 50]

A run of all losses' machinery (Barlow Twins, monitors, checkpoints, data loader) on small images,
in this process, while a thread notes the resident memory. What grows with the epochs shows as a
difference between the second and the last fifth of the run; the first holds the warm-up.
"""

import argparse
import tempfile
import threading
from pathlib import Path
from statistics import median

from harness import held_memory, write_result
from medstrata.data.prepare import prepare
from medstrata.data.synthetic import make_images
from medstrata.pretraining import pretrain
from medstrata.recipes import recipe

_EVERY = 0.25  # seconds between two looks


def watch(stop: threading.Event, seen: list[float]) -> None:
    while not stop.wait(_EVERY):
        seen.append(1024 * held_memory("VmRSS"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        labels = make_images(Path(folder) / "images", images=600, size=64)
        store = prepare(labels.parent, Path(folder) / "store", labels=labels, size=64)
        settings = recipe(
            "fair/moco_bt",
            backbone="resnet10t",
            epochs=arguments.epochs,
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
    result = {"epochs": arguments.epochs, "MiB": fifths, "growth": growth, "most": max(seen)}
    print(write_result("memory", result))


if __name__ == "__main__":
    main()
