"""Checkpoints of a run."""

import re
from pathlib import Path

import pytest
import torch

from medstrata.runs.checkpoints import load_checkpoint, save_checkpoint
from medstrata.runtime.errors import MedstrataError


def test_checkpoints_come_back(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoints", 3, {"step": 3}, keep=1)
    assert load_checkpoint(path)["step"] == 3


@pytest.mark.parametrize("state", [{"step": 3}, {"step": 3, "draws": 1}])
def test_checkpoints_of_other_draws_are_refused(tmp_path: Path, state: dict[str, int]) -> None:
    torch.save(state, tmp_path / "step-000000003.pt")
    with pytest.raises(MedstrataError, match=re.escape(str(tmp_path)) + ".*seeds draw otherwise"):
        load_checkpoint(tmp_path / "step-000000003.pt")
