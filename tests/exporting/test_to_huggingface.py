"""Exports for transformers load there through the lines of their own model card."""

from pathlib import Path

import pytest

from support.export_check import OTHER_NETWORKS, check_export, check_other_network


@pytest.mark.parametrize(("run", "outputs"), [("grey", 512), ("grey-tuned", 1)])
def test_run_loads_by_its_card(
    run: str, outputs: int, exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = check_export(exported_runs / run, "huggingface", tmp_path / "out", monkeypatch)
    assert given.shape == (5, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "huggingface", tmp_path, monkeypatch)
