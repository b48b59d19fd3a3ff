"""What a pre-training run will take; what cannot fit is refused before there is a folder."""

from medstrata.models.cost import NetworkCost, measure_cost
from medstrata.pretraining.build import Training
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.forecast import (
    FLOAT_BYTES,
    SMALL_FILES,
    Forecast,
    TrainingMemory,
    expect,
    is_short,
)


def step_seconds(cost: NetworkCost, batch: int) -> float:
    """Seconds of a step, on the GPU or on one core: the query's pass, and the key's forward."""
    return batch * (cost.training_seconds + cost.inference_seconds)


def disk_bytes(settings: PretrainSettings, weight_bytes: int, queue_size: int) -> int:
    """Bytes of a run folder: both encoders and the momentum in each checkpoint, then the export."""
    queue = queue_size * settings.contrastive.head_size * FLOAT_BYTES
    return settings.keep_checkpoints * (3 * weight_bytes + queue) + weight_bytes + SMALL_FILES


def forecast(training: Training) -> Forecast | None:
    """Measure what a run will take on this device; None for one that is over in seconds.

    Args:
        training: As `build` made it.

    Raises:
        MedstrataError: a step cannot fit the memory, or the run folder the disk.
    """
    settings, accelerator = training.settings, training.accelerator
    steps, size = training.resolved.steps, settings.views.size
    if settings.shard or is_short(settings.batch_size * size**2, steps):
        return None
    batch = settings.batch_size // accelerator.num_processes
    cost = measure_cost(settings.backbone, size, settings.in_channels, batch, accelerator)
    trained = sum(weight.numel() for weight in training.model.parameters() if weight.requires_grad)
    # Gradients and momentum.
    memory = TrainingMemory(fixed=2 * trained * FLOAT_BYTES, image=cost.activation_bytes)
    seconds = steps * step_seconds(cost, batch)
    disk = disk_bytes(settings, cost.weight_bytes, training.resolved.queue_size)
    return expect(memory, batch, seconds, disk, training.folder, accelerator.device)
