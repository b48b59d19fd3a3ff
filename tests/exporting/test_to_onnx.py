"""ONNX Runtime runs the exported graph through the lines of its model card."""

import json
from pathlib import Path

import pytest

from support.export_check import OTHER_NETWORKS, check_export, check_other_network


def test_graph_takes_pixels_and_gives_stages(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = exported_runs / "small-tuned", tmp_path / "out"
    check_export(run, "onnx", out, monkeypatch, stages=True, with_preprocessing=True)
    assert json.loads((out / "config.json").read_text())["onnx"] == {
        "input": "pixels",
        "outputs": ["logits", "pooled", "stage1", "stage2", "stage3", "stage4"],
    }


@pytest.mark.slow
def test_graph_takes_normalised_images(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_export(exported_runs / "grey", "onnx", tmp_path / "out", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "onnx", tmp_path, monkeypatch)
