"""What cannot be exported is refused in one line, and leaves nothing behind."""

import json
from pathlib import Path

import pytest

import medstrata as ms
from medstrata.cli.main import main
from medstrata.exporting import to_timm
from medstrata.exporting.source import ExportSource
from medstrata.runtime.errors import MedstrataError
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
    run = tuned_run(tmp_path / "tuned", "resnet10t", encoder="scratch")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "protocol": "frozen"}))
    refused_export(run, "timm", tmp_path, "changed no encoder")


def test_damaged_weights(run: Path, tmp_path: Path) -> None:
    weights = run / "exported" / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refused_export(run, "timm", tmp_path, "cannot be read as weights")
    tuned = tuned_run(tmp_path / "tuned", "resnet10t", encoder="scratch")
    head = tuned / "exported" / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-10])
    refused_export(tuned, "timm", tmp_path, "is damaged")
    (tuned / "exported" / "model.json").unlink()
    refused_export(tuned, "timm", tmp_path, "has lost files; give a finished run of `finetune`")


def test_weights_of_another_network(run: Path, tmp_path: Path) -> None:
    config = run / "exported" / "config.json"
    config.write_text(config.read_text().replace("resnet10t", "resnet18"))
    refused_export(run, "timm", tmp_path, "does not fit resnet18")


def test_target_and_its_options(run: Path, tmp_path: Path) -> None:
    refused_export(run, "keras", tmp_path, "no target 'keras'; there are timm, torchvision")
    with pytest.raises(MedstrataError, match="belong to graphs"):
        ms.export(run, "timm", tmp_path / "out", ms.ExportSettings(stages=True))


@pytest.mark.parametrize(
    "words",
    [
        ["--to", "keras", "--out", "out"],
        ["--to", "timm"],
        ["--out", "out"],
        ["--to", "timm", "--out", "out", "--stages"],
        ["--to", "monai", "--out", "out", "--with-preprocessing"],
    ],
)
def test_usage_errors_leave_with_2(
    finished: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["export", str(finished), *words])
    assert left.value.code == 2
    assert not list(tmp_path.iterdir())


def test_destination_in_use(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(MedstrataError, match="is not an export"):
        ms.export(run, "timm", run, overwrite=True)
    ms.export(run, "timm", out)
    refused_export(run, "timm", tmp_path, "add --overwrite")
    (out / "old.txt").write_text("of the export before")
    main(["export", str(run), "--to", "timm", "--out", str(out), "--overwrite"])
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pre"]


def test_export_that_loads_as_something_else_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = to_timm.Timm.write

    def lossy(target: to_timm.Timm, source: ExportSource, folder: Path) -> None:
        source.backbone.model.conv1[0].weight.data *= 2
        write(target, source, folder)
        source.backbone.model.conv1[0].weight.data /= 2

    monkeypatch.setattr(to_timm.Timm, "write", lossy)
    refused_export(run, "timm", tmp_path, "gives other pooled than this encoder")


def test_absent_consumer_is_said(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "medstrata.exporting.export.find_spec", lambda name: None if name == "timm" else name
    )
    ms.export(run, "timm", tmp_path / "out")
    assert "not checked, timm is not installed" in capsys.readouterr().err
