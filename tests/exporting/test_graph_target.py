"""Graphs: what writing one takes is said where it is absent."""

from pathlib import Path

import pytest

from support.export_check import refused_export


def test_absent_onnx_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "medstrata.exporting.graph_target.find_spec", lambda name: None if name == "onnx" else name
    )
    refused_export(
        run, "onnx", tmp_path, "writing ONNX needs onnx: pip install 'medstrata\\[onnx\\]'"
    )
