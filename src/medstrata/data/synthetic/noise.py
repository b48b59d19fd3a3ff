"""Noise that made-up textures are drawn from.

Legend: H W height and width, both `size`.
"""

import numpy as np
from numpy.typing import NDArray

from medstrata.runtime.randomness import Stream, uniforms

Grey = NDArray[np.float32]


def gaussian(size: int, stream: Stream, *coordinates: int) -> Grey:
    """White noise of mean 0 and standard deviation 1, shape (H, W), after Box and Muller."""
    radius, angle = uniforms(2 * size * size, stream, *coordinates).reshape(2, size, size)
    noise = np.sqrt(-2.0 * np.log1p(-radius)) * np.cos(2.0 * np.pi * angle)
    return noise.astype(np.float32)


def band(
    size: int, wavelength: float, angle: float | None, stream: Stream, *coordinates: int
) -> Grey:
    """Noise around one wavelength, of mean 0 and standard deviation 1, shape (H, W).

    Args:
        size: Height and width in pixels.
        wavelength: In eighths of the side: coarse enough to outlive a blur and enlargement.
        angle: Direction of fastest variation, radians from the x axis; None for every direction.
        stream: What the draw is for.
        coordinates: Name the draw within it.
    """
    frequency = np.fft.fftfreq(size)
    x, y = frequency[None, :], frequency[:, None]
    octave = np.log(np.maximum(np.hypot(x, y), 0.5 / size) * wavelength * size / 8.0)
    gain = np.exp(-0.5 * (octave / 0.2) ** 2)
    gain[0, 0] = 0.0
    if angle is not None:
        # The sine of the turn is alike for opposite directions, which are one in a real image.
        gain *= np.exp(-0.5 * (np.sin(np.arctan2(y, x) - angle) / 0.25) ** 2)
    field = np.fft.ifft2(np.fft.fft2(gaussian(size, stream, *coordinates)) * gain).real
    return np.asarray(field / field.std(), dtype=np.float32)
