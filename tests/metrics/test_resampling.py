"""Resamples as counts of groups: what they hold, however they are cut up."""

import numpy as np
import pytest

from medstrata.metrics import resampling
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import METRICS
from medstrata.metrics.resampling import Resamples
from support.plain_metrics import CASES, PLAIN, counted, predictions


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_integer_weights_equal_repetition(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    weights = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=6)
    scored = METRICS[name](target, probability, kind, counted(*weights))
    for row, one in zip(weights, scored, strict=True):
        repeated = np.repeat(target, row, axis=0), np.repeat(probability, row, axis=0)
        assert one == pytest.approx(PLAIN[name](*repeated, kind), abs=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_groups_equal_their_samples_counted_alike(
    name: str, kind: TaskKind, monkeypatch: pytest.MonkeyPatch
):
    target, probability = predictions(kind)
    generator = np.random.default_rng(1)
    groups = generator.integers(20, size=60)
    counts = generator.integers(4, size=(6, 20)).astype(np.uint8)
    apart = METRICS[name](target, probability, kind, counted(*counts[:, groups]))
    together = METRICS[name](target, probability, kind, Resamples(counts, groups))
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-12)
    monkeypatch.setattr(resampling, "_BLOCK", 100)  # one resample at a time
    in_blocks = METRICS[name](target, probability, kind, Resamples(counts, groups))
    np.testing.assert_allclose(in_blocks, together, rtol=0, atol=1e-12)
