"""The training step and a whole run on a GPU, against lightly's blocks in the same precision.

    python benchmarks/gpu.py [--backbone resnet50] [--size 224] [--batch 256] [--no-compile]
                             [--out FOLDER] [--device cpu --quick]

Makes its images on the spot. First the step alone, on a batch made beforehand, one program after
another with plain MoCo twice, so that drift shows; each once more compiled, lightly's encoders too.
Then real runs of `pretrain --profile` on grey and on colour images of 256 px, for what the loader
costs. Every figure is written as soon as it is there, to results/gpu-<name>.json or to --out; a
program that fails is named there, and the others go on.
"""

import argparse
import gc
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness import RESULTS, Section, Target, read_result, spread, write_result
from images import write_linked
from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.store import Store
from medstrata.pretraining.build import build
from medstrata.pretraining.loop import pretrain, training_step
from medstrata.pretraining.profile.bottleneck import LOOP, WAITING
from medstrata.pretraining.profile.flops import count_operations
from medstrata.pretraining.profile.trace import PYTHON
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.console import say
from medstrata.runtime.devices import device_name, make_accelerator
from medstrata.runtime.files import write_text
from peers import SAME_ALLOCATOR, Case, installed, peer_step
from wording import change, number, paragraphs, ratio, table
from workers import Step

LOSSES = {"plain MoCo": "moco", "+ MSE": "moco_mse", "+ Barlow Twins": "moco_bt"}
PLAIN, COMPILED, AGAIN, PEER = "plain MoCo", ", compiled", "plain MoCo, again", "lightly"
_DISTINCT = 256  # made-up images; the others are the same files by another name
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

    def lightly(compiled: bool) -> Callable[[], Step]:
        return lambda: peer_step("lightly", sizes.case, SAME_ALLOCATOR, device, compiled=compiled)

    made = {title: ours(name, False) for title, name in LOSSES.items()}
    if PEER in installed():
        made[PEER] = lightly(False)
    made[AGAIN] = ours(LOSSES[PLAIN], False)
    if compile_too:
        made |= {f"{title}{COMPILED}": ours(name, True) for title, name in LOSSES.items()}
        if PEER in installed():
            made[PEER + COMPILED] = lightly(True)
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
    operations = count_operations(step) if counted is None else counted
    del step
    torch.compiler.reset()  # what the next program compiles must not count as another shape
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


def measure_run(store: Store, folder: Path, sizes: Sizes, *, compiled: bool) -> dict[str, float]:
    """A run of plain MoCo through the loader; its first epoch, which warms up, is left out.

    Args:
        store: The images.
        folder: New, for the run.
        sizes: How much is measured.
        compiled: Whether to compile the encoders.
    """
    chosen = settings("moco", sizes, store.channels, compiled=compiled)
    run = pretrain(store, chosen, folder, profile=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines if line["event"] == "epoch" and line["epoch"] > 0]
    shares = json.loads((run / "profile.json").read_text())["shares"]
    return {
        "samples_per_s": statistics.median(one["samples_per_s"] for one in times),
        "data_wait": statistics.median(one["data_wait"] for one in times),
        # Of a GPU the parts are times of its kernels, and what is left it had nothing to do.
        "busy": 1 - sum(shares.get(name, 0.0) for name in (WAITING, PYTHON, LOOP)),
    }


def make_store(folder: Path, sizes: Sizes, channels: int) -> Store:
    """A store of made-up images with structure at every scale."""
    ending = "png" if channels == 1 else "jpg"
    images = folder / f"images-{channels}"
    write_linked(images, sizes.images, sizes.pixels, channels, ending, distinct=_DISTINCT)
    return prepare(images, folder / f"store-{channels}", size=sizes.pixels, channels=channels)


def measure(
    sizes: Sizes, device: torch.device, keep: Callable[[Mapping[str, Any]], object], *,
    compile_too: bool,
) -> dict[str, Any]:  # fmt: skip
    """All of it; `keep` gets what there is after each figure."""
    result: dict[str, Any] = {
        "case": sizes.case._asdict(),
        "device": device_name(device),
        "ceiling_flops_per_s": ceiling(device, sizes.product),
        "steps": {},
        "runs": {},
        "failed": {},
    }

    def note(part: str, name: str, work: Callable[[], dict[str, Any]]) -> None:
        try:
            row = result[part][name] = work()
        except Exception as error:  # noqa: BLE001  (one program's trouble is not the others')
            result["failed"][name] = f"{type(error).__name__}: {error}"[:400]
            say(f"{name} failed: {result['failed'][name]}")
        else:
            rate = row["samples_per_s"]
            rate = rate["median"] if isinstance(rate, Mapping) else rate
            say(f"{name}: {rate:.0f} two-view samples/s")
        keep(result)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stores = {"colour": make_store(folder, sizes, 3), "grey": make_store(folder, sizes, 1)}
        for name, make in steps(stores["colour"], sizes, device, compile_too=compile_too).items():
            # A compiled step does the same products, which cannot be counted in it.
            plain = result["steps"].get(name.removesuffix(COMPILED), {}).get("flops")
            note("steps", name, partial(measure_step, make, sizes, device, counted=plain))
        for name, store in stores.items():
            run = partial(measure_run, store, folder / f"run-{name}", sizes, compiled=compile_too)
            note("runs", name, run)
    return result


def section() -> Section:
    """What each GPU measured, and the aims for one H100."""
    results = [read_result(path.stem) for path in sorted(RESULTS.glob("gpu-*.json"))]
    words = (
        "`python benchmarks/gpu.py`: images made on the spot, bfloat16, channels-last; lightly's "
        "blocks in the same precision and memory format, and compiled where ours are. A sample is "
        "two views. `busy` is the time of the GPU's kernels in a step of a run (`--profile`)."
    )
    if not results:
        words += " **No GPU has measured them yet**; the aims stand as they were set."
        return Section("On a GPU", words, _aims({}))
    tables = [_table(result) for result in results]
    aimed = Case("resnet50", 224, 256, 65_536)
    h100 = next((r for r in results if "H100" in r["device"] and Case(**r["case"]) == aimed), {})
    return Section("On a GPU", paragraphs(words, *tables), _aims(h100))


def _table(result: Mapping[str, Any]) -> str:
    most = result["ceiling_flops_per_s"]
    rows = []
    for name, row in result["steps"].items():
        share = row["flops"] / row["seconds"]["median"] / most
        peak = "-" if row["peak_GiB"] is None else f"{row['peak_GiB']:.1f}"
        over = _over(result, name)
        compared = ["-", "-"] if over is None else [ratio(over), change(over)]
        rate = number(row["samples_per_s"]["median"])
        rows.append([name, rate, peak, f"{100 * share:.0f} %", *compared])
    head = [result["device"], "samples/s", "peak GiB", "of a large product's rate"]
    steps_of = table([*head, "time to plain MoCo's", "added"], rows)
    runs = [
        [name, number(run["samples_per_s"]), f"{run['data_wait']:.1%}", f"{run['busy']:.1%}"]
        for name, run in result["runs"].items()
    ]
    return paragraphs(steps_of, table(["run", "samples/s", "waiting for data", "busy"], runs))


def _over(result: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """A program's time over plain MoCo's, compiled as it is compiled; None where one failed."""
    rows = result["steps"]
    plain = rows.get(PLAIN + (COMPILED if name.endswith(COMPILED) else ""))
    if name not in rows or plain is None:
        return None
    middle = plain["seconds"]["median"]
    return {key: value / middle for key, value in rows[name]["seconds"].items()}


def _aims(result: Mapping[str, Any]) -> list[Target]:
    result = {"steps": {}, "runs": {}, **result}
    measured = result["steps"]
    rates = [row["samples_per_s"]["median"] for name, row in measured.items() if PLAIN in name]
    busy = [run["busy"] for run in result["runs"].values()]
    why, on = "", "ResNet-50, 224 px, batch 256, one H100"
    if PLAIN in measured:
        row = measured[PLAIN]
        share = row["flops"] / row["seconds"]["median"] / result["ceiling_flops_per_s"]
        why = f"the step computes at {100 * share:.0f} % of a large bfloat16 product's rate"

    def over(name: str) -> float | None:
        found = _over(result, name)
        return None if found is None else found["median"]

    best, least = max(rates, default=None), 100 * min(busy) if busy else None
    aims = [
        Target(f"two-view samples a second: {on}", 2500, best, "samples/s", why=why),
        Target(f"the GPU at work in a run: {on}", 95, least, "%", why=why),
    ]
    for how, ending in (("eager", ""), ("compiled", COMPILED)):
        what = f"step against lightly's, same precision, both {how}: {on}"
        aims.append(Target(what, 1.5, over(PEER + ending), "x", why=why))
    for name in list(LOSSES)[1:]:
        what, taken = f"{name[2:]} on four stages, added: {on}", over(name)
        added = None if taken is None else 100 * (taken - 1)
        aims.append(Target(what, 3, added, "%", True, why))
    return aims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=25_600)  # 100 steps between checkpoints
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, help="folder for the result, instead of results/")
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
    chip = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
    name = f"gpu-{chip}-{case.backbone}-{case.size}-{case.batch}"

    def keep(found: Mapping[str, Any]) -> None:
        if not given.quick:
            path = write_result(name, found)
            if given.out is not None:
                write_text(given.out / path.name, path.read_text("utf-8"))

    result = measure(sizes, device, keep, compile_too=given.compile and not given.quick)
    print(_table(result))


if __name__ == "__main__":
    main()
