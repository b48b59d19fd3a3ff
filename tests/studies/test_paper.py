"""The paper's study runs from trees in the real layouts, and says what the paper did."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from medstrata.cli import reproduce
from medstrata.cli.main import main
from medstrata.studies.cell_settings import finetune_settings, pretrain_settings
from medstrata.studies.paper import reproduction
from medstrata.studies.plan import plan
from medstrata.studies.study_file import as_study
from support import dataset_trees as catalog_trees

TREES = {
    "chest": catalog_trees.nih,
    "histopathology": catalog_trees.idc,
    "retina": catalog_trees.eyepacs,
}
ARMS = {"chest": 2, "histopathology": 5, "retina": 4}
METRICS = {"chest": "macro_auroc", "histopathology": "macro_f1", "retina": "macro_auroc"}


@pytest.mark.parametrize("modality", TREES)
@pytest.mark.parametrize("preset", ["paper", "fair"])
def test_every_reproduction_is_a_study(modality: Any, preset: Any) -> None:
    settings = as_study(reproduction(modality, "somewhere", preset))
    kinds = {cell.kind for cell in plan(settings)}
    assert kinds == {"prepare", "pretrain", "full", "frozen", "probe", "reuse", "atlas"}


def test_the_paper_preset_is_what_the_paper_ran() -> None:
    settings = as_study(reproduction("retina", "somewhere"))
    pretrained = pretrain_settings(settings, "eyepacs", "moco_bt", 0)
    tuned = finetune_settings(settings, "eyepacs", "full")
    assert pretrained is not None
    assert (pretrained.backbone, pretrained.batch_size, pretrained.views.size) == (
        "resnet50",
        8,
        299,
    )
    assert (tuned.batch_size, tuned.lr, tuned.epochs, tuned.schedule) == (16, 1e-3, 100, "constant")
    assert tuned.views.vertical_flip == 0.5
    assert tuned.views.rotation == 0
    assert settings.legacy


def quick_reproduction(modality: Any, *given: Any, **named: Any) -> dict[str, Any]:
    """The study with few draws behind its intervals; of the chest, two of its arms."""
    study = reproduction(modality, *given, **named)
    if modality == "chest":
        study["arms"] = {name: study["arms"][name] for name in ("scratch", "moco_bt")}
    for protocol in study["protocols"].values():
        protocol["settings"]["resamples"] = 20
        protocol["draws"] = 1
    few = {"probe": {"resamples": 20}, "reuse": {"subsets": 4}, "atlas": {"queries": 2}}
    return study | {name: {"settings": settings} for name, settings in few.items()}


@pytest.mark.parametrize(
    "modality",
    [
        "chest",
        pytest.param("histopathology", marks=pytest.mark.slow),
        pytest.param("retina", marks=pytest.mark.slow),
    ],
)
def test_from_the_download_to_the_report(
    modality: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reproduce, "reproduction", quick_reproduction)
    root = TREES[modality](tmp_path / "download")
    words = ["reproduce", modality, str(root), "--out", str(tmp_path / "out")]
    words += ["--backbone", "resnet10t", "--size", "32", "--epochs", "1", "--batch-size", "8"]
    words += ["--tuning-epochs", "1", "--fractions", "[0.5]", "--seeds", "1"]
    main([*words, "--preset", "fair" if modality == "histopathology" else "paper"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    results = [
        json.loads(path.read_text()) for path in (tmp_path / "out").glob("full/*/*/result.json")
    ]
    assert len(results) == ARMS[modality]
    assert {result["fraction"] for result in results} == {0.5}
    assert {result["metric"] for result in results} == {METRICS[modality]}
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"Intermediate layers in momentum contrast: {modality}" in page


def test_the_study_can_be_printed_and_edited(capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", "chest", "download", "--out", "out", "--print-study"])
    printed = yaml.safe_load(capsys.readouterr().out)
    asked = reproduction("chest", str(Path("download").resolve()))
    assert plan(as_study(printed)) == plan(as_study(asked))
