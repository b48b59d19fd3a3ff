"""Images and single views for the tests of the augmentation."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data import view_settings
from medstrata.data.view_settings import ViewSettings
from medstrata.data.views import ViewParameters, apply, draw

Pixels = NDArray[np.uint8]


def textured(size: int, channels: int, seed: int = 0) -> Pixels:
    """An image with structure at every scale, in colour where it has three channels."""
    generator = np.random.default_rng(seed)
    total = np.zeros((size, size, channels))
    for cells in (2, 4, 8, 16, 32):
        noise = generator.normal(size=(cells, cells, channels)) + generator.normal(
            size=(cells, cells, 1)
        )
        larger: Any = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        total += larger.reshape(total.shape) / cells**0.6
    return np.clip(125 + 35 * total, 0, 255).astype(np.uint8)


def parameters_of(
    settings: ViewSettings, image_size: int, count: int = 1, **changes: object
) -> ViewParameters:
    arrays: dict[str, Any] = {name: np.array([value] * count) for name, value in changes.items()}
    return replace(draw(settings, image_size, 0, 0, np.arange(count), 0), **arrays)


def view_of(image: Pixels, parameters: ViewParameters, i: int = 0) -> Pixels:
    out = np.full((parameters.size, parameters.size, image.shape[2]), 77, dtype=np.uint8)
    apply(image, parameters, i, out)
    return out


def changed(image: Pixels, **changes: Any) -> Pixels:
    size = len(image)
    return view_of(image, parameters_of(view_settings.evaluation(size), size, **changes))
