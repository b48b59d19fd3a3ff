"""A card shows scores of its own encoder's weights alone."""

from pathlib import Path

import pytest

import medstrata as ms
from medstrata.exporting.scores import card_scores
from medstrata.exporting.source import open_source
from medstrata.runtime.errors import MedstrataError


def test_an_encoder_is_known_by_its_weights_wherever_it_was_evaluated(
    evaluated_runs: Path,
) -> None:
    source = open_source(evaluated_runs / "pre", head=False)
    (score,) = card_scores(source, [evaluated_runs / "moved"])
    (same,) = card_scores(source, [evaluated_runs / "frozen"])
    assert score.interval == same.interval


def test_runs_without_scores_are_refused(evaluated_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="which have scores"):
        ms.export(
            evaluated_runs / "pre", "timm", tmp_path / "out", results=[evaluated_runs / "pre"]
        )
    assert not (tmp_path / "out").exists()


def test_scores_of_other_weights_are_refused(evaluated_runs: Path, tmp_path: Path) -> None:
    """The folder is the one that was evaluated, what lies in it now is not."""
    with pytest.raises(MedstrataError, match=r"with other weights than .* holds now"):
        ms.export(
            evaluated_runs / "pre", "timm", tmp_path / "out", results=[evaluated_runs / "stale"]
        )
    assert not (tmp_path / "out").exists()
