"""MoCo v2's two views by other libraries, from images that are decoded already.

Each gets uint8 images of one size, (N, H, W, C), and makes two views of every one. All draw the
same crop, flip, colour, grey and blur; grey images have no hue, saturation or loss of colour. What
differs: kornia crops and resizes floats, the others resample with antialiasing; blurs have a kernel
of 13 pixels but in albumentations, which takes it from the drawn width. All end with uint8 but
kornia, whose operations are of floats.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Run = Callable[[], None]
KERNEL, SIGMA = 13, (0.1, 2.0)
SCALE = (0.2, 1.0)
BATCH = 32  # images a call of the batched library
TORCHVISION_1 = "torchvision v1, Pillow images"
TORCHVISION_2 = "torchvision v2, uint8 tensors"
ALBUMENTATIONS, KORNIA = "albumentations, NumPy", "kornia, batches of floats"


def peers(size: int, pixels: Pixels) -> dict[str, Run]:
    """Programs that make two views of every image, by name; those that are installed."""
    made: dict[str, Run] = {}
    makers: Mapping[str, Callable[[int, Pixels], Run]] = {
        TORCHVISION_1: torchvision_1,
        TORCHVISION_2: torchvision_2,
        ALBUMENTATIONS: albumentations,
        KORNIA: kornia,
    }
    for name, make in makers.items():
        try:
            made[name] = make(size, pixels)
        except ImportError:
            print(f"{name}: not installed")
    return made


def _colour(grey: bool) -> dict[str, float]:
    jitter = {"brightness": 0.4, "contrast": 0.4}
    return jitter if grey else jitter | {"saturation": 0.4, "hue": 0.1}


def _is_grey(pixels: Pixels) -> bool:
    return pixels.shape[3] == 1


def _twice(transform: Callable[[Any], Any], images: list[Any]) -> Run:
    def run() -> None:
        for image in images:
            transform(image)
            transform(image)

    return run


def _torchvision(module: Any, size: int, grey: bool, last: list[Any]) -> Any:
    steps = [
        module.RandomResizedCrop(size, SCALE, antialias=True),
        module.RandomHorizontalFlip(),
        module.RandomApply([module.ColorJitter(**_colour(grey))], 0.8),
        *([] if grey else [module.RandomGrayscale(0.2)]),
        module.RandomApply([module.GaussianBlur(KERNEL, SIGMA)], 0.5),
    ]
    return module.Compose(steps + last)


def torchvision_1(size: int, pixels: Pixels) -> Run:
    from torchvision import transforms

    transform = _torchvision(transforms, size, _is_grey(pixels), [transforms.PILToTensor()])
    return _twice(transform, [Image.fromarray(one.squeeze()) for one in pixels])


def torchvision_2(size: int, pixels: Pixels) -> Run:
    from torchvision.transforms import v2

    images = [torch.from_numpy(one).permute(2, 0, 1) for one in pixels]
    return _twice(_torchvision(v2, size, _is_grey(pixels), []), images)


def albumentations(size: int, pixels: Pixels) -> Run:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no call home
    import albumentations as package

    grey = _is_grey(pixels)
    jitter = {"saturation": 0.0, "hue": 0.0} | _colour(grey)
    transform = package.Compose(
        [
            package.RandomResizedCrop((size, size), SCALE, area_for_downscale="image"),
            package.HorizontalFlip(),
            package.ColorJitter(**jitter, p=0.8),
            *([] if grey else [package.ToGray(p=0.2)]),
            package.GaussianBlur(sigma_limit=SIGMA, p=0.5),
        ]
    )
    return _twice(lambda image: transform(image=image), list(pixels))


def kornia(size: int, pixels: Pixels) -> Run:
    import kornia.augmentation as package

    if _is_grey(pixels):
        colour = [
            package.RandomBrightness((0.6, 1.4), p=0.8),
            package.RandomContrast((0.6, 1.4), p=0.8),
        ]
    else:
        colour = [package.ColorJitter(**_colour(False), p=0.8), package.RandomGrayscale(p=0.2)]
    transform = torch.nn.Sequential(
        package.RandomResizedCrop((size, size), SCALE),
        package.RandomHorizontalFlip(),
        *colour,
        package.RandomGaussianBlur(KERNEL, SIGMA),
    )
    batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(BATCH)

    def run() -> None:
        for batch in batches:
            floats = batch.float().div(255)
            transform(floats)
            transform(floats)

    return run
