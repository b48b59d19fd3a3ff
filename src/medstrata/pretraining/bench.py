"""What this machine can do with a network: ceilings, step, loader, and the hours of a run."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.data.synthetic.chest import make_images
from medstrata.pretraining.bench_settings import BenchSettings
from medstrata.pretraining.build import Training, build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.profile.measure import count_operations, loader_rates, timed
from medstrata.pretraining.profile.roofline import Roofline, measure_roofline
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import resolve
from medstrata.runs.environment import environment
from medstrata.runtime.console import progress_bar, say, show
from medstrata.runtime.devices import compute_precision, make_accelerator
from medstrata.runtime.files import write_text
from medstrata.runtime.machine import usable_cores
from medstrata.runtime.memory import memory
from medstrata.runtime.process_state import preserve_process_state

_STEPS_S = 60.0  # no further round of steps begins after this
_IMAGES = 100_000  # of the run whose hours are estimated, where there is no store
_STORE_PX = 256  # of the images made on the spot, what docs/guide/data.md advises for 224


@preserve_process_state()
def bench(case: BenchSettings, out: Path | None = None) -> dict[str, Any]:
    """Measure this machine; shows progress and tables, needs no network.

    Args:
        case: What to measure.
        out: JSON file to write the result to.

    Returns:
        What was measured, with the machine, versions and date.

    Raises:
        MedstrataError: the store has fewer images than a batch, or the backbone is unknown.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(case.store) if case.store else _make_store(Path(folder), case.batch_size)
        images = case.images or (len(store.rows("train")) if case.store else _IMAGES)
        trainings = {
            name: _training(case, name, store, images, Path(folder)) for name in case.recipes
        }
        first = next(iter(trainings.values()))
        device = first.accelerator.device
        say("ceilings of the device")
        roofline = measure_roofline(device)
        steps = _time_steps(trainings, case.steps, roofline)
        say("loader")
        rate, per_core = loader_rates(first.loader)
    cores = usable_cores()
    result = {
        "environment": environment(),
        "case": asdict(case),
        "ceiling": asdict(roofline),
        "steps": steps,
        "peak_memory_gib": memory(device)._asdict(),
        "loader": {
            "store_px": store.size,
            "channels": store.channels,
            "samples_per_s": rate,
            "samples_per_s_per_core": per_core,
        },
        "cores": cores,
        "cores_to_keep_the_device_busy": {
            name: step["samples_per_s"] / per_core for name, step in steps.items()
        },
        "estimate": {
            name: _estimate(
                trainings[name].settings, images, step["samples_per_s"], per_core * cores,
                shared=device.type == "cpu",
            )
            for name, step in steps.items()
        },
    }  # fmt: skip
    _show(result, roofline)
    if out is not None:
        write_text(out, json.dumps(result, indent=2) + "\n")
        say(f"written to {out}")
    return result


def _make_store(folder: Path, batch_size: int) -> Store:
    images = max(64, 2 * batch_size)
    say(f"making {images} images of {_STORE_PX} px")
    labels = make_images(folder / "images", images=images, size=_STORE_PX)
    # Everything is trained on: nothing here is evaluated.
    return prepare(
        labels.parent / "images", folder / "bench.store", PrepareSettings(size=_STORE_PX), workers=1
    )


def _training(case: BenchSettings, name: str, store: Store, images: int, folder: Path) -> Training:
    """What a run on so many images trains, built on the few of a trial."""
    settings = recipe(
        name,
        backbone=case.backbone,
        batch_size=case.batch_size,
        images="all",
        views={"size": case.size},
        **({} if case.epochs is None else {"epochs": case.epochs}),
    )
    accelerator = make_accelerator(settings.precision)
    resolved = resolve(settings, store, images)
    training = build(accelerator, resolved, store, store.rows(), folder)
    training.wrapped.train()
    return training


def _time_steps(
    trainings: Mapping[str, Training], turns: int, roofline: Roofline
) -> dict[str, dict[str, Any]]:
    """Steps of all recipes in turns, on a batch made beforehand; the first warms up and counts."""
    device = next(iter(trainings.values())).accelerator.device
    takes = {name: _step_on_one_batch(training) for name, training in trainings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    peaks: dict[str, float | None] = {}
    with progress_bar() as bar:
        task = bar.add_task("training steps", total=(turns + 1) * len(trainings))
        flop = {}
        for name, take in takes.items():
            flop[name] = count_operations(take)
            bar.advance(task)
        started = time.perf_counter()
        for turn in range(turns):
            if turn and time.perf_counter() - started > _STEPS_S:
                break
            for name, take in takes.items():
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                seconds[name].append(timed(take, device))
                peaks[name] = memory(device).peak
                bar.advance(task)
    steps = {}
    for name, training in trainings.items():
        taken, precision = median(seconds[name]), compute_precision(training.accelerator)
        steps[name] = {
            "seconds": taken,
            "turns": seconds[name],
            "samples_per_s": training.settings.batch_size / taken,
            "precision": precision,
            "gflop": flop[name] / 1e9,
            "ceiling_share": roofline.share(flop[name], taken, precision),
            # What the other recipes hold counts, too; on a CPU at its largest so far.
            "peak_memory_gib": peaks[name],
        }
    return steps


def _step_on_one_batch(training: Training) -> Callable[[], object]:
    batches = training.loader.epoch(0)
    step = partial(training_step, training, next(batches))
    batches.close()
    return step


def _estimate(
    settings: PretrainSettings, images: int, step_rate: float, loader_rate: float, *, shared: bool
) -> dict[str, Any]:
    """Hours of a pre-training run, without the looks at the encoder after each epoch."""
    # The slower of the two holds the other up, or they take turns on the same cores.
    apart, together = min(step_rate, loader_rate), 1 / (1 / step_rate + 1 / loader_rate)
    rate = together if shared else apart
    steps = settings.total_steps(images)
    hours = steps * settings.batch_size / rate / 3600
    return {"images": images, "steps": steps, "samples_per_s": rate, "hours": hours}


def _show(result: dict[str, Any], roofline: Roofline) -> None:
    table = Table("at most", *roofline.product, title=f"{roofline.device}, GFLOP/s")
    table.add_row("large product", *(f"{rate:.0f}" for rate in roofline.product.values()))
    for shape in roofline.convolution["fp32"]:
        rates = [found[shape] for found in roofline.convolution.values()]
        table.add_row(f"convolution {shape}", *(f"{rate:.0f}" for rate in rates))
    show(table)
    say(f"copies: {roofline.copy_gb_per_s:.0f} GB/s read and written")
    case = result["case"]
    title = f"{case['backbone']}, {case['size']} px, batch {case['batch_size']}"
    table = Table(
        "recipe", "s/step", "samples/s", "of ceiling", "peak GiB", "loader cores", "hours",
        title=title,
    )  # fmt: skip
    for name, step in result["steps"].items():
        peak = step["peak_memory_gib"]
        table.add_row(
            name,
            f"{step['seconds']:.3g}",
            f"{step['samples_per_s']:.1f}",
            f"{step['ceiling_share']:.0%} ({step['precision']})",
            "unknown" if peak is None else f"{peak:.1f}",
            f"{result['cores_to_keep_the_device_busy'][name]:.2f}",
            f"{result['estimate'][name]['hours']:.3g}",
        )
    show(table)
    loader, estimate = result["loader"], next(iter(result["estimate"].values()))
    say(
        f"loader: {loader['samples_per_s_per_core']:.0f} two-view samples/s a core from a store of "
        f"{loader['store_px']} px, {loader['samples_per_s']:.0f} on {result['cores']:g} cores"
    )
    say(
        f"hours: of a run on {estimate['images']} images, {estimate['steps']} steps (--images, "
        "--epochs); loader cores: what keeps the device busy"
    )
