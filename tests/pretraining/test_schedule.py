"""The learning rate over a run."""

import math

import pytest

from medstrata.pretraining.schedule import lr_factor, update_at


def test_cosine_schedule_by_hand() -> None:
    def at(step: int) -> float:
        return lr_factor(step, steps=12, warmup_steps=4, schedule="cosine")

    assert [at(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert at(4) == 1.0
    assert at(8) == pytest.approx(0.5)
    assert at(11) == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert lr_factor(11, steps=12, warmup_steps=4, schedule="constant") == 1.0


def test_updates_end_with_the_epoch_and_the_run() -> None:
    found = [update_at(step, accumulate=2, steps_per_epoch=3, steps=8) for step in range(8)]
    assert [one.steps for one in found] == [2, 2, 1, 2, 2, 1, 2, 2]
    assert [one.begins for one in found] == [True, False, True, True, False, True, True, False]
    assert [one.ends for one in found] == [False, True, True, False, True, True, False, True]
