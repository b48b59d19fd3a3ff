"""Shared by the benchmarks: folders of generated images, or of some that are at hand."""

import os
import shutil
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
        total += layer.reshape(size, size, channels) / cells**0.8
    return np.clip(120 + 40 * total, 0, 255).astype(np.uint8)


def write_images(folder: Path, count: int, size: int, channels: int, ending: str) -> None:
    folder.mkdir()
    for number in range(count):
        pixels = textured(size, channels, number)
        image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
        image.save(folder / f"{number:04d}.{ending}", quality=90)


def write_linked(
    folder: Path, count: int, size: int, channels: int, ending: str, *, distinct: int
) -> None:
    """As `write_images`, but the first few stand for all, which nothing that is timed can tell."""
    write_images(folder, min(count, distinct), size, channels, ending)
    for number in range(distinct, count):
        os.link(folder / f"{number % distinct:04d}.{ending}", folder / f"{number:04d}.{ending}")


def copy_images(folder: Path, count: int, source: Path) -> None:
    folder.mkdir()
    files = sorted(path for path in source.rglob("*") if path.suffix in {".jpg", ".jpeg", ".png"})
    for path in files[:: max(1, len(files) // count)][:count]:
        shutil.copy(path, folder)
