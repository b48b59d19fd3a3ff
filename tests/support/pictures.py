"""Synthetic pictures to compare."""

import numpy as np

from medstrata.data.synthetic.chest import FAMILIES, draw_image

SIZE = 96


def picture(seed: int, channels: int = 1) -> np.ndarray:
    """A synthetic chest; colour is a tint of it."""
    grey = draw_image(seed % len(FAMILIES), seed, 0, size=SIZE)
    tint = np.array([1.0, 0.8, 0.7])[:channels]
    return (grey[..., None] * tint).astype(np.uint8)
