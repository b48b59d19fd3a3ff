"""The learning rate over a run."""

import math

import pytest

from medstrata.pretraining.schedule import lr_factor


def test_cosine_schedule_by_hand() -> None:
    def at(step: int) -> float:
        return lr_factor(step, steps=12, warmup_steps=4, schedule="cosine")

    assert [at(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert at(4) == 1.0
    assert at(8) == pytest.approx(0.5)
    assert at(11) == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert lr_factor(11, steps=12, warmup_steps=4, schedule="constant") == 1.0
