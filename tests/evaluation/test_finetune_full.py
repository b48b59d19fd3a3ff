"""A network that is fine-tuned whole."""

import json
from pathlib import Path

import numpy as np
import pytest


def test_the_epoch_that_validates_best_is_the_one_tested(tuned: Path) -> None:
    result = json.loads((tuned / "result.json").read_text())
    lines = (tuned / "metrics.jsonl").read_text().splitlines()
    values = [json.loads(line)["val_score"] for line in lines]
    assert result["best_epoch"] == int(np.argmax(values))
    assert result["val"]["value"] == pytest.approx(max(values), abs=1e-6)
