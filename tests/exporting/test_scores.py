"""A card shows scores of its own encoder's weights alone."""

from pathlib import Path

import pytest

import medstrata as ms
from medstrata.runtime.errors import MedstrataError


def test_scores_of_another_encoder_are_refused(evaluated_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="evaluates else, not pre"):
        ms.export(
            evaluated_runs / "pre", "timm", tmp_path / "out", results=[evaluated_runs / "other"]
        )
    with pytest.raises(MedstrataError, match="which have scores"):
        ms.export(
            evaluated_runs / "pre", "timm", tmp_path / "out", results=[evaluated_runs / "pre"]
        )
    assert not (tmp_path / "out").exists()


def test_scores_of_other_weights_are_refused(evaluated_runs: Path, tmp_path: Path) -> None:
    """The folder is the one that was evaluated, what lies in it now is not."""
    with pytest.raises(MedstrataError, match=r"made with other weights than .* holds now"):
        ms.export(
            evaluated_runs / "pre", "timm", tmp_path / "out", results=[evaluated_runs / "stale"]
        )
    assert not (tmp_path / "out").exists()
