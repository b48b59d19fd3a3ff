"""The training step and a whole run on a GPU, against lightly's blocks in the same precision.

    python benchmarks/gpu.py [--backbone resnet50] [--size 224] [--batch 256] [--no-compile]
                             [--device cpu --quick]

Makes its images on the spot. First the step alone, on a batch made beforehand, one program after
another with plain MoCo once more at the end, so that drift shows; then real runs of `pretrain` on
grey and on colour images of 256 px, for what the loader costs. Writes results/gpu-<name>.json.
"""

import argparse
import gc
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness import RESULTS, Section, Target, read_result, spread, write_result
from images import write_images
from medstrata.assembly import build
from medstrata.console import say
from medstrata.data.prepare import prepare
from medstrata.data.store import Store
from medstrata.devices import device_name, make_accelerator
from medstrata.pretraining import pretrain, training_step
from medstrata.recipes import recipe
from medstrata.settings import PretrainSettings
from peers import SAME_ALLOCATOR, Case, peer_step
from wording import change, number, paragraphs, ratio, table
from workers import Step, flops

LOSSES = {"plain MoCo": "moco", "+ MSE": "moco_mse", "+ Barlow Twins": "moco_bt"}
PLAIN, COMPILED, AGAIN, PEER = "plain MoCo", ", compiled", "plain MoCo, again", "lightly"
_COPIES = 3  # of the product that gives the ceiling, after a warm-up


class Sizes(NamedTuple):
    """How much is measured."""

    case: Case
    pixels: int  # of the stored images, a side
    images: int
    epochs: int
    turns: int
    product: int  # rows and columns of the matrices that give the ceiling


QUICK = Sizes(Case("resnet10t", 32, 8, 256), 32, 32, 2, 2, 256)


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step: Step, device: torch.device, turns: int) -> list[float]:
    """Of each step, after three that warm up (or compile)."""
    taken = []
    for turn in range(turns + 3):
        wait(device)
        started = time.perf_counter()
        step()
        wait(device)
        if turn >= 3:
            taken.append(time.perf_counter() - started)
    return taken


def ceiling(device: torch.device, size: int) -> float:
    """Operations a second of a large bfloat16 product, the best of a few."""
    first, second = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: torch.mm(first, second), device, _COPIES))


def settings(name: str, sizes: Sizes, channels: int, *, compiled: bool) -> PretrainSettings:
    case = sizes.case
    return recipe(
        f"fair/{name}",
        backbone=case.backbone,
        batch_size=case.batch,
        epochs=sizes.epochs,
        precision="bf16",
        in_channels=channels,
        images="all",
        compile=compiled,
        contrastive={"queue_size": case.queue, "cap_queue": False},
        views={"size": case.size},
    )


def our_step(store: Store, chosen: PretrainSettings) -> Step:
    """A training step on a batch made beforehand."""
    training = build(make_accelerator("bf16"), chosen, store, Path(tempfile.mkdtemp()))
    batches = training.loader.epoch(0)
    batch = next(batches)
    batches.close()
    training.wrapped.train()
    return lambda: training_step(training, batch)


def steps(
    store: Store, sizes: Sizes, device: torch.device, *, compile_too: bool
) -> dict[str, Callable[[], Step]]:
    """What makes each program, by name."""

    def ours(name: str, compiled: bool) -> Callable[[], Step]:
        return lambda: our_step(store, settings(name, sizes, 3, compiled=compiled))

    made = {title: ours(name, False) for title, name in LOSSES.items()}
    if compile_too:
        made |= {f"{title}{COMPILED}": ours(name, True) for title, name in LOSSES.items()}
    made[PEER] = lambda: peer_step("lightly", sizes.case, SAME_ALLOCATOR, device)
    made[AGAIN] = ours(LOSSES[PLAIN], False)
    return made


def measure_step(
    make: Callable[[], Step], sizes: Sizes, device: torch.device, *, counted: int | None
) -> dict[str, Any]:
    """Time, memory and arithmetic (`counted`, or counted here) of a program, then forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step = make()
    taken = seconds(step, device, sizes.turns)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    operations = flops(step) if counted is None else counted
    del step
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    rates = [sizes.case.batch / one for one in taken]
    return {
        "seconds": spread(taken),
        "samples_per_s": spread(rates),
        "peak_GiB": peak,
        "flops": operations,
    }


def measure_run(
    store: Store, folder: Path, sizes: Sizes, step_s: float, *, compiled: bool
) -> dict[str, float]:
    """A run of plain MoCo through the loader; its first epoch, which warms up, is left out.

    Args:
        store: The images.
        folder: New, for the run.
        sizes: How much is measured.
        step_s: Seconds of a step alone, to tell how long the device was at work.
        compiled: Whether to compile the encoders.
    """
    chosen = settings("moco", sizes, store.channels, compiled=compiled)
    run = pretrain(store, chosen, folder)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines if line["event"] == "epoch" and line["epoch"] > 0]
    rate = statistics.median(one["samples_per_s"] for one in times)
    return {
        "samples_per_s": rate,
        "data_wait": statistics.median(one["data_wait"] for one in times),
        "busy": rate / sizes.case.batch * step_s,
    }


def make_store(folder: Path, sizes: Sizes, channels: int) -> Store:
    """A store of made-up images with structure at every scale."""
    ending = "png" if channels == 1 else "jpg"
    images = folder / f"images-{channels}"
    write_images(images, sizes.images, sizes.pixels, channels, ending)
    return prepare(images, folder / f"store-{channels}", size=sizes.pixels, channels=channels)


def measure(sizes: Sizes, device: torch.device, *, compile_too: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "case": sizes.case._asdict(),
        "device": device_name(device),
        "ceiling_flops_per_s": ceiling(device, sizes.product),
        "steps": {},
        "runs": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stores = {"colour": make_store(folder, sizes, 3), "grey": make_store(folder, sizes, 1)}
        made = steps(stores["colour"], sizes, device, compile_too=compile_too)
        for name, make in made.items():
            # A compiled step does the same products, which cannot be counted in it.
            plain = result["steps"].get(name.removesuffix(COMPILED), {}).get("flops")
            row = result["steps"][name] = measure_step(make, sizes, device, counted=plain)
            say(f"{name}: {row['samples_per_s']['median']:.0f} two-view samples/s")
        fastest = COMPILED if compile_too else ""
        step_s = result["steps"][PLAIN + fastest]["seconds"]["median"]
        for name, store in stores.items():
            out = folder / f"run-{name}"
            row = measure_run(store, out, sizes, step_s, compiled=compile_too)
            result["runs"][name] = row
            say(f"run, {name}: {row['samples_per_s']:.0f} samples/s, busy {row['busy']:.0%}")
    return result


def section() -> Section:
    """What each GPU measured, and the aims for one H100."""
    results = [read_result(path.stem) for path in sorted(RESULTS.glob("gpu-*.json"))]
    words = (
        "`python benchmarks/gpu.py`: images made on the spot, ResNet-50 at 224 px, batch 256, "
        "bfloat16, channels-last; lightly's blocks in the same precision and memory format. A "
        "sample is two views. `busy` is the share of a run's time that its steps would take alone."
    )
    if not results:
        words += " **No GPU has measured them yet**; the aims stand as they were set."
        return Section("On a GPU", words, _aims({}))
    tables = [_table(result) for result in results]
    h100 = next((one for one in results if "H100" in one["device"]), {})
    return Section("On a GPU", paragraphs(words, *tables), _aims(h100))


def _table(result: Mapping[str, Any]) -> str:
    most = result["ceiling_flops_per_s"]
    rows = []
    for name, row in result["steps"].items():
        share = row["flops"] / row["seconds"]["median"] / most
        peak = "-" if row["peak_GiB"] is None else f"{row['peak_GiB']:.1f}"
        over = _over(result, name)
        rate = number(row["samples_per_s"]["median"])
        rows.append([name, rate, peak, f"{100 * share:.0f} %", ratio(over), change(over)])
    head = [result["device"], "samples/s", "peak GiB", "of a large product's rate"]
    steps_of = table([*head, "time to plain MoCo's", "added"], rows)
    runs = [
        [name, number(run["samples_per_s"]), f"{run['data_wait']:.1%}", f"{run['busy']:.1%}"]
        for name, run in result["runs"].items()
    ]
    return paragraphs(steps_of, table(["run", "samples/s", "waiting for data", "busy"], runs))


def _over(result: Mapping[str, Any], name: str) -> dict[str, float]:
    """A program's time over plain MoCo's median."""
    plain = result["steps"][PLAIN]["seconds"]["median"]
    return {key: value / plain for key, value in result["steps"][name]["seconds"].items()}


def _aims(result: Mapping[str, Any]) -> list[Target]:
    found: dict[str, float | None] = dict.fromkeys(("rate", "busy", "peer", *LOSSES))
    why = ""
    if result:
        best = min(
            (name for name in result["steps"] if name.startswith(PLAIN)),
            key=lambda name: result["steps"][name]["seconds"]["median"],
        )
        row = result["steps"][best]
        found["rate"] = row["samples_per_s"]["median"]
        found["busy"] = 100 * min(run["busy"] for run in result["runs"].values())
        found["peer"] = _over(result, PEER)["median"] / _over(result, best)["median"]
        found |= {name: 100 * (_over(result, name)["median"] - 1) for name in LOSSES}
        share = row["flops"] / row["seconds"]["median"] / result["ceiling_flops_per_s"]
        why = f"the step computes at {100 * share:.0f} % of a large bfloat16 product's rate"
    on = "ResNet-50, 224 px, batch 256, one H100"
    return [
        Target(f"two-view samples a second: {on}", 2500, found["rate"], "samples/s", why=why),
        Target(f"the GPU at work in a run: {on}", 95, found["busy"], "%", why=why),
        Target(f"step against lightly's, same precision: {on}", 1.5, found["peer"], "x", why=why),
        *(
            Target(f"{name[2:]} on four stages, added: {on}", 3, found[name], "%", True, why)
            for name in list(LOSSES)[1:]
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, no compiling, no file")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.exit(0, "no GPU here, nothing measured; --device cpu --quick tries the program\n")
    if (given.device == "cpu") == torch.cuda.is_available():
        parser.error("--device cpu needs CUDA_VISIBLE_DEVICES= where there is a GPU")
    case = Case(given.backbone, given.size, given.batch, 65_536)
    full = Sizes(case, 256, given.images, given.epochs, given.turns, product=8192)
    sizes = QUICK if given.quick else full
    device = torch.device(given.device)
    result = measure(sizes, device, compile_too=given.compile and not given.quick)
    if given.quick:
        print(_table(result))
        return
    name = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()).strip("-")
    print(write_result(f"gpu-{name}", result))


if __name__ == "__main__":
    main()
