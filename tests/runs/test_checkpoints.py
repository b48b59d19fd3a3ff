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


def test_a_checkpoint_that_changed_on_the_disk_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 3, {"weight": torch.ones(1000)}, keep=1)
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(9).numpy().tobytes()) + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(MedstrataError, match=r"has changed since it was written.*delete it"):
        load_checkpoint(path)


def test_a_checkpoint_of_a_list_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "step-000000003.pt")
    with pytest.raises(MedstrataError, match="cannot be read"):
        load_checkpoint(tmp_path / "step-000000003.pt")
