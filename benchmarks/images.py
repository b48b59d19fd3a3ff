"""Generated images that the benchmarks read."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image


def textured(size: int, channels: int, seed: int) -> NDArray[np.uint8]:
    """An image with structure at every scale, as photographs have, and a little noise."""
    generator = np.random.default_rng(seed)
    total = 0.03 * generator.normal(size=(size, size, channels))
    for cells in (2, 4, 8, 16, 32, 64, 128):
        shape = (cells, cells, channels)
        noise = generator.normal(size=shape) + generator.normal(size=(cells, cells, 1))
        layer = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(layer, np.float64).reshape(total.shape) / cells**0.8
    return np.clip(120 + 40 * total, 0, 255).astype(np.uint8)


def write_images(folder: Path, count: int, size: int, channels: int, ending: str) -> None:
    """Files of different images, (size, size) pixels; `ending` is `png` or `jpg`."""
    folder.mkdir()
    for number in range(count):
        pixels = textured(size, channels, number).squeeze()
        Image.fromarray(pixels).save(folder / f"{number:04d}.{ending}", quality=90)
