"""An export is asked for rightly, proved, and put where nothing else stands."""

from pathlib import Path

import pytest

import medstrata as ms
from medstrata.cli.main import main
from medstrata.exporting import to_timm
from medstrata.exporting.source import ExportSource
from medstrata.runtime.errors import MedstrataError
from support.export_check import refused_export


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
