"""The exported program runs through the lines of its model card."""

from pathlib import Path

import pytest

from support.export_check import OTHER_NETWORKS, check_export, check_graph, check_other_network


def test_graph_takes_pixels_and_gives_stages(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exported_runs / "small-tuned"
    check_graph(run, "torch-export", "program", tmp_path / "out", monkeypatch)


@pytest.mark.slow
def test_graph_takes_normalised_images(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_export(exported_runs / "grey", "torch-export", tmp_path / "out", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "torch-export", tmp_path, monkeypatch)
