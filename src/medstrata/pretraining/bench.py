"""What this machine can do with a network: ceilings, step, loader, and the hours of a run."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
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
from medstrata.data.synthetic import make_images
from medstrata.pretraining.build import Training, build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.moco import Queue
from medstrata.pretraining.profile.flops import count_operations
from medstrata.pretraining.profile.profile import loader_rates
from medstrata.pretraining.profile.roofline import Ceiling, measure_ceiling
from medstrata.pretraining.recipes import recipe
from medstrata.runs.environment import environment
from medstrata.runtime.console import progress_bar, say, show
from medstrata.runtime.devices import computed_in, make_accelerator
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.runtime.machine import usable_cores
from medstrata.runtime.memory import memory

RECIPES = ("fair/moco", "fair/moco_mse", "fair/moco_bt")
_STEPS_S = 60.0  # no further round of steps begins after this
_IMAGES = 100_000  # of the run whose hours are estimated, where there is no store
_STORE_PX = 256  # of the images made on the spot, what docs/guide/data.md advises for 224


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured.

    Attributes:
        backbone: timm's name.
        size: Side of the views, pixels.
        batch_size: Images a step.
        recipes: Names of recipes; they take turns.
        steps: Timed steps of each, fewer where they take long.
        store: A store to take images from; None makes some.
        images: Images of the run whose hours are estimated; None takes the store's, or 100,000.
        epochs: Its epochs; None takes the recipe's.
    """

    backbone: str = "resnet50"
    size: int = 224
    batch_size: int = 32
    recipes: Sequence[str] = RECIPES
    steps: int = 5
    store: str | None = None
    images: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "batch_size", "steps", "images", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")


def bench(case: Case, out: Path | None = None) -> dict[str, Any]:
    """Measure this machine; shows progress and tables, needs no network.

    Args:
        case: What to measure.
        out: JSON file to write the result to.

    Returns:
        What was measured, with the machine, versions and date.

    Raises:
        MedstrataError: the store has fewer images than a batch, or the backbone is unknown.
        ValueError: a recipe is unknown.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = open_store(case.store) if case.store else _make_store(folder, case.batch_size)
        trainings = {name: _training(case, name, store, folder) for name in case.recipes}
        device = next(iter(trainings.values())).accelerator.device
        say("ceilings of the device")
        ceiling = measure_ceiling(device)
        steps = _time_steps(trainings, case.steps, ceiling)
        say("loader")
        rate, per_core = loader_rates(next(iter(trainings.values())).loader)
    cores = usable_cores()
    result = {
        "environment": environment(),
        "case": asdict(case),
        "ceiling": asdict(ceiling),
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
            name: _estimate(case, name, store, step["samples_per_s"], per_core, cores, device)
            for name, step in steps.items()
        },
    }
    _show(result, ceiling)
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


def _training(case: Case, name: str, store: Store, folder: Path) -> Training:
    images = len(store.rows())
    if images < case.batch_size:
        raise MedstrataError(
            f"{store.location} has {images} images, less than a batch of {case.batch_size}; give a "
            "smaller --batch-size"
        )
    settings = recipe(name, backbone=case.backbone, batch_size=case.batch_size, images="all")
    queue_size = settings.contrastive.queue_size
    contrastive = replace(
        settings.contrastive,
        queue_size=1,  # until below: the images of a trial are fewer than a run's queue
        key_sub_batches=max(1, min(settings.contrastive.key_sub_batches, case.batch_size // 2)),
    )
    settings = replace(
        settings,
        views=replace(settings.views, size=case.size),
        contrastive=contrastive,
        in_channels=settings.in_channels or (1 if store.channels == 1 else 3),
    )
    training = build(make_accelerator(settings.precision), settings, store, folder)
    queue = Queue(queue_size, contrastive.head_size, generator=torch.Generator().manual_seed(0))
    training.queue = queue.to(training.accelerator.device)
    training.wrapped.train()
    return training


def _time_steps(
    trainings: Mapping[str, Training], steps: int, ceiling: Ceiling
) -> dict[str, dict[str, Any]]:
    """Steps of all recipes in turns, on a batch made beforehand; the first warms up and counts."""
    batches = {}
    for name, training in trainings.items():
        source = training.loader.epoch(0)
        batches[name] = next(source)
        source.close()
    flop, peaks = {}, {}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    with progress_bar() as bar:
        task = bar.add_task("training steps", total=(steps + 1) * len(trainings))
        for name, training in trainings.items():
            step = partial(training_step, training, batches[name])
            flop[name] = count_operations(partial(_seconds, training, step))
            bar.advance(task)
        started = time.perf_counter()
        for turn in range(steps):
            if turn and time.perf_counter() - started > _STEPS_S:
                break
            for name, training in trainings.items():
                if training.accelerator.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                step = partial(training_step, training, batches[name])
                seconds[name].append(_seconds(training, step))
                peaks[name] = memory(training.accelerator.device).peak
                bar.advance(task)
    return {
        name: _step_record(training, seconds[name], flop[name], peaks[name], ceiling)
        for name, training in trainings.items()
    }


def _seconds(training: Training, step: partial[Any]) -> float:
    started = time.perf_counter()
    step()
    if training.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _step_record(
    training: Training, seconds: list[float], flop: int, peak: float | None, ceiling: Ceiling
) -> dict[str, Any]:
    precision = computed_in(training.accelerator)
    taken = median(seconds)
    return {
        "seconds": taken,
        "turns": seconds,
        "samples_per_s": training.settings.batch_size / taken,
        "precision": precision,
        "gflop": flop / 1e9,
        "ceiling_share": flop / taken / 1e9 / ceiling.best(precision),
        # What the other recipes hold counts, too; on a CPU at its largest so far.
        "peak_memory_gib": peak,
    }


def _estimate(
    case: Case,
    name: str,
    store: Store,
    step_rate: float,
    per_core: float,
    cores: float,
    device: torch.device,
) -> dict[str, Any]:
    """Hours of a pre-training run, without the looks at the encoder after each epoch."""
    images = case.images or (len(store.rows("train")) if case.store else _IMAGES)
    epochs = case.epochs or recipe(name).epochs
    if device.type == "cuda":
        rate = min(step_rate, per_core * cores)  # the slower of the two holds the other up
    else:
        rate = 1 / (1 / step_rate + 1 / (per_core * cores))  # they share the cores
    hours = images * epochs / rate / 3600
    return {"images": images, "epochs": epochs, "samples_per_s": rate, "hours": hours}


def _show(result: dict[str, Any], ceiling: Ceiling) -> None:
    table = Table("at most", *ceiling.product, title=f"{ceiling.device}, GFLOP/s")
    rates = [ceiling.product[precision] for precision in ceiling.product]
    table.add_row("large product", *(f"{rate:.0f}" for rate in rates))
    for shape in next(iter(ceiling.convolution.values())):
        rates = [ceiling.convolution[precision][shape] for precision in ceiling.product]
        table.add_row(f"convolution {shape}", *(f"{rate:.0f}" for rate in rates))
    show(table)
    say(f"copies: {ceiling.copy_gb_per_s:.0f} GB/s read and written")
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
        f"hours: of a run on {estimate['images']} images, {estimate['epochs']} epochs (--images, "
        "--epochs); loader cores: what keeps the device busy"
    )
