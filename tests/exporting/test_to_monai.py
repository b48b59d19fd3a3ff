"""MONAI's own networks take exported weights through the lines of the model card."""

from pathlib import Path

import pytest

from support.export_check import check_export
from support.exported_runs import pretrained_run


def test_backbone_loads_by_its_card(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = check_export(exported_runs / "grey", "monai", tmp_path / "out", monkeypatch)
    assert features.shape == (
        5,
        512,
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet34", "resnet50", "resnet101"])
def test_networks_shared_with_timm(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretrained_run(tmp_path / "run", architecture)
    check_export(run, "monai", tmp_path / "out", monkeypatch)
