"""What cannot be exported is refused in one line, and leaves nothing behind."""

import json
from pathlib import Path

from support.export_check import refused_export
from support.exported_runs import tuned_run


def test_runs_without_an_encoder(run: Path, tmp_path: Path) -> None:
    refused_export(tmp_path / "nowhere", "timm", tmp_path, "is not a run folder")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "kind": "atlas"}))
    refused_export(run, "timm", tmp_path, "of kind atlas")
    (run / "result.json").unlink()
    refused_export(run, "timm", tmp_path, "is not finished")


def test_frozen_run(tmp_path: Path) -> None:
    run = tuned_run(tmp_path / "tuned", "test_resnet", encoder="scratch")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "protocol": "frozen"}))
    refused_export(run, "timm", tmp_path, "changed no encoder")


def test_damaged_weights(run: Path, tmp_path: Path) -> None:
    weights = run / "exported" / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused_export(run, "timm", tmp_path, "cannot be read as weights")
    tuned = tuned_run(tmp_path / "tuned", "test_resnet", encoder="scratch")
    head = tuned / "exported" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-10])
    refused_export(tuned, "timm", tmp_path, "is damaged")
    (tuned / "exported" / "model.json").unlink()
    refused_export(tuned, "timm", tmp_path, "has lost files; give a finished run of `finetune`")


def test_weights_of_another_network(run: Path, tmp_path: Path) -> None:
    config = run / "exported" / "config.json"
    config.write_text(config.read_text().replace("test_resnet", "resnet18"))
    refused_export(run, "timm", tmp_path, "does not fit resnet18")
