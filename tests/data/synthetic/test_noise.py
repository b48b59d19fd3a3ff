"""Noise of one wavelength and direction."""

import numpy as np
import pytest

from medstrata.data.synthetic.noise import band
from medstrata.runtime.randomness import Stream


def test_band_keeps_to_its_wavelength_and_direction() -> None:
    power = np.abs(np.fft.fft2(band(64, 1.0, 0.0, Stream.SYNTHETIC_FIELD))) ** 2
    row, column = np.unravel_index(np.argmax(power), power.shape)
    assert min(column, 64 - column) in range(6, 11)  # eight waves from left to right
    assert min(row, 64 - row) <= 3
    assert band(64, 2.0, None, Stream.SYNTHETIC_FIELD).std() == pytest.approx(1.0, abs=1e-5)
