"""What a network takes on this device for an image: memory and time, measured."""

import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from medstrata.models.backbones import Backbone, Features, create_backbone
from medstrata.models.cpu_convolutions import replace_convolutions
from medstrata.runtime.forecast import FLOAT_BYTES

_TRIES = 2
_FEW = 2  # images; the difference to a whole batch tells what grows with the batch
_MEASURED_PIXELS = 2**17  # of a batch: the rate of larger ones is about the same


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """What a network takes, measured.

    Attributes:
        parameters: Weights.
        activation_bytes: What a training step keeps of an image until its backward pass.
        training_seconds: Of an image, forward and backward, on the GPU or on one core.
        inference_seconds: Likewise, forward alone.
    """

    parameters: int
    activation_bytes: float
    training_seconds: float
    inference_seconds: float

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, as they are kept and saved."""
        return self.parameters * FLOAT_BYTES


def measure_cost(
    backbone: str, size: int, channels: int, batch: int, accelerator: Accelerator
) -> NetworkCost:
    """Run some training steps and forward passes of a network with random weights.

    Takes a second for a ResNet-18 of 64 px, some for a ResNet-50 of 224 px. Torch's generators and
    threads are as before.

    Args:
        backbone: timm's name.
        size: Side of its input, pixels.
        channels: Of its input.
        batch: Images a step; of large images fewer are taken.
        accelerator: Device and precision.

    Raises:
        MedstrataError: there is no such network, or it takes no images of this size.
    """
    threads, gpus = torch.get_num_threads(), list(range(torch.cuda.device_count()))
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=gpus):
            return _measure(backbone, size, channels, batch, accelerator)
    finally:
        torch.set_num_threads(threads)


def _measure(
    backbone: str, size: int, channels: int, batch: int, accelerator: Accelerator
) -> NetworkCost:
    network = create_backbone(backbone, in_channels=channels, image_size=size)
    network = network.to(accelerator.device).to(memory_format=torch.channels_last)
    replace_convolutions(accelerator, network)
    many = max(4 * _FEW, min(batch, _MEASURED_PIXELS // size**2))
    images = torch.rand(many, channels, size, size).to(accelerator.device)
    few_kept, _ = _training_step(network, images[:_FEW], accelerator)
    steps = [_training_step(network, images, accelerator) for _ in range(_TRIES)]
    with torch.no_grad(), accelerator.autocast():
        network.eval()
        inference = min(_timed(network, images, accelerator) for _ in range(_TRIES)) / many
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        activation_bytes=(steps[0][0] - few_kept) / (many - _FEW),
        training_seconds=min(seconds for _, seconds in steps) / many,
        inference_seconds=inference,
    )


def _training_step(
    network: Backbone, images: Tensor, accelerator: Accelerator
) -> tuple[int, float]:
    """Bytes that the forward pass keeps for the backward pass, and the seconds of both."""
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    started = _clock(accelerator)
    keeping = torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor)
    with keeping, accelerator.autocast():
        features: Features = network(images)
        loss = features.pooled.float().square().mean()
    loss.backward()
    return sum(kept.values()), _clock(accelerator) - started


def _timed(network: Backbone, images: Tensor, accelerator: Accelerator) -> float:
    started = _clock(accelerator)
    network(images)
    return _clock(accelerator) - started


def _clock(accelerator: Accelerator) -> float:
    """Seconds; on a CPU those that this process was given, as others may be at work too."""
    if accelerator.device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()
