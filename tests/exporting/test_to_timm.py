"""Exports for timm load there through the lines of their own model card."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import medstrata as ms
from medstrata.data.store.store import Store
from support.export_check import OTHER_NETWORKS, check_export, check_other_network
from support.exported_runs import SIZE, preprocessing_of


def test_backbone_loads_by_its_card(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = check_export(exported_runs / "grey", "timm", tmp_path / "out", monkeypatch)
    assert features.shape == (
        5,
        512,
    )


def test_tuned_run_loads_by_its_card(
    exported_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exported_runs / "grey-tuned"
    assert check_export(run, "timm", tmp_path / "out", monkeypatch).shape == (5, 1)


def test_runs_as_training_leaves_them(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ms.recipe("fair/moco_mse", backbone="test_resnet", epochs=1, batch_size=16, seed=0)
    run = ms.pretrain(tiny_store, settings, tmp_path / "pre")
    tuned = ms.finetune(
        str(run),
        tiny_store,
        "grade",
        1.0,
        tmp_path / "tuned",
        ms.FinetuneSettings(epochs=1, min_steps=1, resamples=20),
    )
    check_export(run, "timm", tmp_path / "backbone", monkeypatch)
    assert check_export(tuned, "timm", tmp_path / "classifier", monkeypatch).shape == (5, 3)
    card = (tmp_path / "classifier" / "README.md").read_text()
    scores = json.loads((tuned / "result.json").read_text())["test"]["scores"]["quadratic_kappa"]
    assert f"{scores['value']:.3f} ({scores['low']:.3f} to {scores['high']:.3f})" in card
    assert str(tmp_path) not in card


@pytest.mark.slow
@pytest.mark.parametrize("architecture", OTHER_NETWORKS)
def test_other_networks_load_by_their_cards(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_other_network(architecture, "timm", tmp_path, monkeypatch)


def test_timm_s_other_ways_of_loading(exported_runs: Path, tmp_path: Path) -> None:
    import timm

    folder = ms.export(exported_runs / "small", "timm", tmp_path / "out")
    file = str(folder / "model.safetensors")
    options = {"num_classes": 0, "in_chans": 3}
    models = [
        timm.create_model("test_resnet", checkpoint_path=file, **options),
        timm.create_model(
            "test_resnet",
            pretrained=True,
            pretrained_cfg_overlay={"file": file, "num_classes": 0},
            **options,
        ),
    ]
    strict = timm.create_model("test_resnet", **options)
    strict.load_state_dict(load_file(file), strict=True)
    for model in [*models, strict]:
        for key, value in load_file(file).items():
            assert torch.equal(model.state_dict()[key], value), key


def test_timm_knows_the_preprocessing(exported_runs: Path, tmp_path: Path) -> None:
    import timm
    from timm.data import resolve_data_config

    folder = ms.export(exported_runs / "small", "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    known = resolve_data_config(model=model)
    options = preprocessing_of(3)
    assert (tuple(known["mean"]), tuple(known["std"])) == (options.mean, options.std)
    assert known["input_size"] == (3, SIZE, SIZE)
