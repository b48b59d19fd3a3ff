"""What an encoder expects of its input: stored with the weights, applied on the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Normalisation = Literal["imagenet", "none", "torchxrayvision"]
# What encoders of other programs expect, in words.
NORMALISATIONS: Mapping[Normalisation, str] = {
    "imagenet": "ImageNet's mean and deviation",
    "none": "values in 0..1",
    "torchxrayvision": "values in -1024..1024",
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Size, channels and normalisation of an encoder's input.

    Attributes:
        image_size: Side in pixels.
        channels: 1 or 3; a grey image is repeated for 3, a colour one turned grey for 1.
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
        """
        top = torch.iinfo(pixels.dtype).max
        if pixels.shape[-1] > self.channels:
            pixels = _grey(pixels)
        images = pixels.permute(0, 3, 1, 2).float()
        mean, std = self._columns(images.device)
        images = (images - top * mean) / (top * std)
        return images.contiguous(memory_format=torch.channels_last)

    def _columns(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel, each (1, channels, 1, 1), on a device."""
        if device.type != "cuda":
            return _column(self.mean, device), _column(self.std, device)
        # To bring them to a GPU waits for all that it has been told to do: once is enough.
        if device not in self._on_gpus:
            with torch.inference_mode(mode=False):  # what is kept must serve training, too
                self._on_gpus[device] = _column(self.mean, device), _column(self.std, device)
        return self._on_gpus[device]

    @cached_property
    def _on_gpus(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}


def _grey(pixels: Tensor) -> Tensor:
    """Levels of one channel for RGB, (B, H, W, 3) -> (B, H, W, 1): to the bit those of `prepare`.

    These are OpenCV's: 0.299 R + 0.587 G + 0.114 B in parts of 2 to the 15th.
    """
    red, green, blue = pixels.long().unbind(-1)
    return ((9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15)[..., None]


def _column(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1)


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


def store_statistics(
    image_size: int, channels: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Preprocessing:
    """The store's own mean and deviation, repeated where a grey store feeds three channels.

    Args:
        image_size: Side of the input in pixels.
        channels: Of the input, 1 or 3.
        mean: Of the stored images, 0 to 1, for each of their channels.
        std: Deviation, likewise.
    """
    repeat = channels // len(mean)
    # A channel that never varies would be divided by 0; one grey level is the smallest step.
    std = tuple(max(value, 1 / 255) for value in std)
    return Preprocessing(
        image_size=image_size, channels=channels, mean=tuple(mean) * repeat, std=tuple(std) * repeat
    )


def for_normalisation(convention: Normalisation, image_size: int, channels: int) -> Preprocessing:
    """What other programs feed their encoders."""
    if convention == "imagenet":
        return imagenet(image_size, channels)
    if convention == "none":
        return identity(image_size, channels)
    # 0..1 to -1024..1024: (value - 0.5) * 2048.
    return Preprocessing(
        image_size=image_size, channels=channels, mean=(0.5,) * channels, std=(1 / 2048,) * channels
    )
