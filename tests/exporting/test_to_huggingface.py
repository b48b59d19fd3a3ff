"""Exports for transformers load there through the lines of their own model card."""

from pathlib import Path

import pytest

from support.export_check import OTHER_NETWORKS, check_export, check_other_network


def test_backbone_loads_by_its_card(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_export(
        exported_runs / "grey", "huggingface", tmp_path / "out", monkeypatch
    ).shape == (5, 512)


def test_tuned_run_loads_by_its_card(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exported_runs / "grey-tuned"
    assert check_export(run, "huggingface", tmp_path / "out", monkeypatch).shape == (5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "huggingface", tmp_path, monkeypatch)
