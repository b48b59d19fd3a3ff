"""What this machine can do at most, with one thread and with all: `medstrata.ceiling`, in turns.

    python benchmarks/ceiling.py [--repeats 5] [--quick]

Large products and a ResNet's convolutions in float32 and, where the hardware computes it natively,
in bfloat16, and copying. A step's share of these is its distance from what is possible.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from harness import Section, read_result, spread, write_result
from medstrata.ceiling import Ceiling, measure_ceiling
from medstrata.machine import usable_cores

COPY = "copy, GB/s read and written"


def flat(ceiling: Ceiling) -> dict[str, float]:
    """GFLOP/s by name, and the copy's GB/s."""
    products = {f"large product, {name}": rate for name, rate in ceiling.product.items()}
    convolutions = {
        f"convolution {shape}, {name}": rate
        for name, rates in ceiling.convolution.items()
        for shape, rate in rates.items()
    }
    return products | convolutions | {COPY: ceiling.copy_gb_per_s}


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Rates of every turn, by threads (or the GPU) and by name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cores = max(1, round(usable_cores()))
    settings: Mapping[str, tuple[torch.device, int]] = {
        f"{threads} thread{'s' if threads > 1 else ''}": (torch.device("cpu"), threads)
        for threads in dict.fromkeys((1, cores))
    }
    if device.type == "cuda":
        settings = {**settings, torch.cuda.get_device_name(): (device, cores)}
    found: dict[str, dict[str, list[float]]] = {name: {} for name in settings}
    for _ in range(repeats):
        for name, (where, threads) in settings.items():
            torch.set_num_threads(threads)
            for what, rate in flat(measure_ceiling(where)).items():
                found[name].setdefault(what, []).append(rate)
    return found


def table(rates: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(rates)
    lines = [f"| GFLOP/s | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for what in next(iter(rates.values())):
        cells = (f"{rates[name][what]['median']:.0f}" for name in names)
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def section() -> Section:
    rates = read_result("ceiling")["rates"]
    text = (
        "`python benchmarks/ceiling.py`: the highest rates of this machine, medians of turns; each "
        "turn keeps the fastest of three runs. `medstrata bench` and `pretrain --profile` measure "
        f"the same with the same code.\n\n{table(rates)}\n"
    )
    return Section(title="What the machine can do at most", text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one turn, no file")
    arguments = parser.parse_args()
    found = measure(1 if arguments.quick else arguments.repeats)

    def summary(values: Sequence[float]) -> dict[str, float]:
        return {"median": statistics.median(values)} if len(values) < 2 else spread(values)

    rates = {
        name: {what: summary(values) for what, values in one.items()} for name, one in found.items()
    }
    print(table(rates))
    if not arguments.quick:
        print(write_result("ceiling", {"rates": rates}))


if __name__ == "__main__":
    main()
