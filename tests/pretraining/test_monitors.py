"""Collapse is said in words, and nothing where all is well."""

import numpy as np

from medstrata.metrics.spectrum import effective_rank
from medstrata.pretraining.monitors import collapse_warnings


def test_collapse_is_said_in_words_and_health_is_silent() -> None:
    generator = np.random.default_rng(0)
    healthy = np.abs(generator.normal(size=(300, 64))).astype(np.float32)
    assert collapse_warnings(healthy, effective_rank(healthy)) == []
    same = np.ones((300, 64), np.float32) + 1e-4 * healthy
    assert "collapsing" in collapse_warnings(same, 30.0)[0]
    line = np.outer(generator.normal(size=300), np.ones(64)).astype(np.float32)
    (message,) = collapse_warnings(line, effective_rank(line))
    assert "1.0 of 64 directions" in message
