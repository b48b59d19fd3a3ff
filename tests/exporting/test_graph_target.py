"""Graphs run in their programs through the lines of their model cards."""

from pathlib import Path

import pytest

from support.export_check import (
    OTHER_NETWORKS,
    check_export,
    check_graph,
    check_other_network,
    refused_export,
)


@pytest.mark.parametrize(("to", "key"), [("onnx", "onnx"), ("torch-export", "program")])
def test_graph_takes_pixels_and_gives_stages(
    to: str, key: str, exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_graph(exported_runs / "small-tuned", to, key, tmp_path / "out", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_graph_takes_normalised_images(
    to: str, exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_export(exported_runs / "grey", to, tmp_path / "out", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, to, tmp_path, monkeypatch)


def test_absent_onnx_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "medstrata.runtime.optional.find_spec", lambda name: None if name == "onnx" else name
    )
    refused_export(
        run, "onnx", tmp_path, "writing ONNX needs onnx: pip install 'medstrata\\[onnx\\]'"
    )


@pytest.mark.parametrize(
    ("to", "function"), [("onnx", "onnx.export"), ("torch-export", "export.export")]
)
def test_a_network_that_pytorch_cannot_write_is_one_line(
    to: str, function: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("step 3/3\nof exporting") from AssertionError("only 4D query")

    monkeypatch.setattr(f"torch.{function}", fail)
    words = (
        r"cannot write test_resnet as a graph for .* \(AssertionError: only 4D query\); export it"
    )
    refused_export(run, to, tmp_path, words)


@pytest.mark.slow
def test_attention_within_blocks_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network("nest_tiny", "onnx", tmp_path, monkeypatch)
