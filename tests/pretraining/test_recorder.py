"""What a run writes down of its steps and epochs."""

from pathlib import Path

import numpy as np
import pytest

from support.runs import records


def test_epoch_record_averages_its_steps(encoder: Path) -> None:
    for epoch in records(encoder, "epoch"):
        steps = [step for step in records(encoder, "step") if step["epoch"] == epoch["epoch"]]
        assert epoch["contrastive"] == pytest.approx(np.mean([s["contrastive"] for s in steps]))
        stage = [s["intermediate"]["stage2"] for s in steps]
        assert epoch["intermediate"]["stage2"] == pytest.approx(np.mean(stage))


def test_loss_is_contrastive_plus_weighted_stages(encoder: Path) -> None:
    for step in records(encoder, "step"):
        total = step["contrastive"] + 0.25 * sum(step["intermediate"].values())
        assert step["loss"] == pytest.approx(total, rel=1e-5)
