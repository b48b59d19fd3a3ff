"""torchvision's own networks take exported weights through the lines of the model card."""

from pathlib import Path

import pytest

from support.export_check import check_export
from support.exported_runs import pretrained_run


@pytest.mark.parametrize(("run", "outputs"), [("grey", 512), ("grey-tuned", 512)])
def test_run_loads_by_its_card(
    run: str, outputs: int, exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = check_export(exported_runs / run, "torchvision", tmp_path / "out", monkeypatch)
    assert given.shape == (5, outputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    ["resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "densenet161"],
)
def test_networks_shared_with_timm(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretrained_run(tmp_path / "run", architecture)
    check_export(run, "torchvision", tmp_path / "out", monkeypatch)
