"""What a full fine-tuning will take; what cannot fit is refused before there is a folder."""

import math
from pathlib import Path

from accelerate import Accelerator

from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.models.cost import NetworkCost, measure_cost
from medstrata.models.encoders import LoadedEncoder
from medstrata.runtime.forecast import SMALL_FILES, Forecast, TrainingMemory, expect, is_short


def tuning_seconds(
    settings: FinetuneSettings, cost: NetworkCost, train: int, val: int, test: int
) -> float:
    """Seconds of a fine-tuning of all weights, on the GPU or on one core, at the longest.

    Args:
        settings: How it is trained.
        cost: Of the network.
        train: Labelled training images.
        val: Labelled validation images.
        test: Labelled test images.
    """
    shown = settings.epochs * _steps(settings, train) * settings.batch_size
    tried = shown * cost.training_seconds + settings.epochs * val * cost.inference_seconds
    # Read out first, and the best is looked at once more.
    others = (train + 2 * val + test) * cost.inference_seconds
    return len(settings.learning_rates) * tried + others


def _steps(settings: FinetuneSettings, images: int) -> int:
    """Of an epoch."""
    return max(settings.min_steps, math.ceil(images / settings.batch_size))


def forecast(
    loaded: LoadedEncoder,
    parts: SplitRows,
    settings: FinetuneSettings,
    out: Path,
    accelerator: Accelerator,
) -> Forecast | None:
    """Measure what a full fine-tuning will take here; None for one that is over in seconds.

    Args:
        loaded: The encoder it starts from.
        parts: What it trains on, chooses by, is scored on.
        settings: How it is trained.
        out: The run folder.
        accelerator: Device and precision.

    Raises:
        MedstrataError: a step cannot fit the memory, or the run folder the disk.
    """
    size, channels = loaded.preprocessing.image_size, loaded.preprocessing.channels
    batch, tries = settings.batch_size, len(settings.learning_rates)
    steps = tries * settings.epochs * _steps(settings, len(parts.train))
    if is_short(batch * size**2, steps):
        return None
    cost = measure_cost(loaded.architecture, size, channels, batch, accelerator)
    seconds = tuning_seconds(settings, cost, len(parts.train), len(parts.val), len(parts.test))
    # A copy of the weights, gradients, and Adam's two averages; the start and the best are kept.
    memory = TrainingMemory(fixed=6 * cost.weight_bytes, image=cost.activation_bytes)
    disk = cost.weight_bytes + SMALL_FILES
    return expect(memory, batch, seconds, disk, out, accelerator.device)
