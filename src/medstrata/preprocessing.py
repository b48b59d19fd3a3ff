"""What an encoder expects of its input: stored with the weights, applied on the device."""

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Size, channels and normalisation of an encoder's input.

    Attributes:
        image_size: Side in pixels.
        channels: 1 or 3; a grey image is repeated for 3.
        mean: Subtracted, per channel, from values scaled to 0..1.
        std: Divides afterwards, per channel.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Turn uint8 or uint16 pixels, (B, H, W, C), into float32 input, (B, channels, H, W).

        The result is in channels-last memory, which is how the pixels already lie.

        Raises:
            ValueError: colour pixels for a one-channel encoder.
        """
        if pixels.shape[-1] not in (1, self.channels):
            raise ValueError(f"{pixels.shape[-1]} channels for an encoder of {self.channels}")
        images = pixels.permute(0, 3, 1, 2).float()
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        top = torch.iinfo(pixels.dtype).max
        images = (images - top * mean) / (top * std)
        return images.contiguous(memory_format=torch.channels_last)


def identity(image_size: int, channels: int) -> Preprocessing:
    """Values in 0..1, nothing subtracted."""
    return Preprocessing(
        image_size=image_size, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels
    )


def imagenet(image_size: int, channels: int) -> Preprocessing:
    """ImageNet's mean and deviation; for one channel, their average."""
    if channels == 3:
        return Preprocessing(
            image_size=image_size, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
    return Preprocessing(
        image_size=image_size,
        channels=1,
        mean=(sum(IMAGENET_MEAN) / 3,),
        std=(sum(IMAGENET_STD) / 3,),
    )


def by_store(
    image_size: int, channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Preprocessing:
    """The store's own mean and deviation, repeated where a grey store feeds three channels."""
    repeat = channels // len(mean)
    # A channel that never varies would be divided by 0; one grey level is the smallest step.
    std = tuple(max(value, 1 / 255) for value in std)
    return Preprocessing(
        image_size=image_size, channels=channels, mean=tuple(mean) * repeat, std=tuple(std) * repeat
    )
