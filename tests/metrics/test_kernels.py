"""Sums over kernels are the same however they are cut up, and never hold them whole."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from medstrata.metrics import kernels
from medstrata.metrics.cka import (
    measures,
)
from support import plain_similarity as plain


def test_tiles_and_chunks_of_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = plain.features(50, 40, 30)
    wide, other = plain.features(50, 90, 70)
    whole = [measures(x, y), measures(wide, other)]
    monkeypatch.setattr(kernels, "_TILE", 7)
    monkeypatch.setattr(kernels, "_ROWS", 11)
    for found, expected in zip([measures(x, y), measures(wide, other)], whole, strict=True):
        assert found == pytest.approx(expected, abs=1e-12)


def test_over_dimensions_and_over_samples_are_the_same_sum() -> None:
    x, y = (kernels.centred(side) for side in plain.features(60, 50, 80))
    long, square = kernels._over_dimensions(x, y), kernels._over_samples(x, y)
    assert long == pytest.approx(square, rel=1e-12)
    x, y = x.float(), y.float()
    assert kernels._over_dimensions(x, y) == pytest.approx(long, rel=1e-6)
    assert kernels._over_samples(x, y) == pytest.approx(long, rel=1e-6)


def test_median_is_of_evenly_spaced_samples_when_there_are_many() -> None:
    x, y = plain.features(4500, 6, 6)
    chosen = np.arange(2000) * 4500 // 2000
    gram = kernels.centred(x)[torch.from_numpy(chosen)]
    expected = 0.8 * float(torch.pdist(gram).median())
    assert kernels._bandwidth(kernels._median_gram(kernels.centred(x)), 0.8) == pytest.approx(
        expected
    )
    assert np.isfinite(measures(x, y)["rbf_debiased"])


def test_memory_stays_far_below_kernel_matrices() -> None:
    # Three kernels of 6,000 samples are 412 MiB in float32 and 824 MiB in float64.
    code = (
        "import resource, torch\n"
        "from medstrata.metrics.cka import measures\n"
        "x, y = torch.randn(2, 6000, 64)\n"
        "measures(x[:600], y[:600])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "measures(x, y)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(ran.stdout) < 100
