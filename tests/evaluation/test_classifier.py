"""Fine-tuned classifiers on disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import load_classifier
from medstrata.evaluation.classifier_card import NOTICE
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.inference.predict import predict
from medstrata.models.encoders import read_encoder
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import MedstrataError
from support.runs import assert_predicts_its_test_images

FULL = FinetuneSettings(epochs=2, min_steps=3, batch_size=8, resamples=10)
FROZEN = FinetuneSettings(protocol="frozen", resamples=10)


def test_threshold_and_its_numbers_are_those_of_validation(
    tiny_store: Store, tmp_path: Path
) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FULL, backbone="test_resnet"
    )
    point = json.loads((run / "result.json").read_text())["thresholds"]["values"]["1"]
    model = json.loads((run / "exported" / "model.json").read_text())
    assert model["thresholds"]["values"]["1"] == point
    frame = pd.read_parquet(run / "predictions.parquet").query("split == 'val'")
    yes, true = frame["probability.1"] >= point["threshold"], frame["target"] == 1
    assert point["sensitivity"] == pytest.approx(yes[true].mean())
    assert point["specificity"] == pytest.approx((~yes[~true]).mean())
    assert (point["positives"], point["negatives"]) == (true.sum(), (~true).sum())


def test_a_stranger_can_use_what_is_exported(tiny_store: Store, tmp_path: Path) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FULL, backbone="test_resnet"
    )
    assert not (run / "checkpoints").exists()
    assert NOTICE in (run / "exported" / "README.md").read_text()
    model = timm.create_model("test_resnet", num_classes=0, in_chans=1).eval()
    model.load_state_dict(load_file(run / "exported" / "backbone.safetensors"))
    head = torch.nn.Linear(96, 1)
    head.load_state_dict(load_file(run / "exported" / "head.safetensors"))
    facts = json.loads((run / "exported" / "model.json").read_text())["preprocessing"]
    rows = tiny_store.rows("test")
    pixels = torch.from_numpy(tiny_store.read(rows)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        values = head(model((pixels - facts["mean"][0]) / facts["std"][0])).sigmoid()
    written = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
    np.testing.assert_allclose(values[:, 0], written["probability.1"], atol=1e-5)


def test_a_run_whose_encoder_has_changed_is_refused(tiny_store: Store, tmp_path: Path) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FROZEN, backbone="test_resnet"
    )
    state = torch.get_rng_state()
    load_classifier(run)
    assert torch.equal(state, torch.get_rng_state())
    path = run / "exported" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 5}))
    with pytest.raises(MedstrataError, match="was fitted on another encoder"):
        load_classifier(run)
    path.write_text("{}")
    with pytest.raises(MedstrataError, match="is damaged"):
        load_classifier(run)
    path.unlink()
    with pytest.raises(MedstrataError, match="give a finished run of `finetune`"):
        predict(run, tiny_store, tmp_path / "p.csv")


def changed_weights(run: Path) -> None:
    file = run / "exported" / "backbone.safetensors"
    tensors = load_file(file)
    tensors["conv1.0.weight"][0, 0, 0, 0] += 1e-3
    save_file(tensors, file)


def changed_mean(run: Path) -> None:
    file = run / "exported" / "config.json"
    config = json.loads(file.read_text())
    config["preprocessing"]["mean"] = [0.1]
    file.write_text(json.dumps(config))


def changed_head(run: Path) -> None:
    file = run / "exported" / "head.safetensors"
    tensors = load_file(file)
    tensors["weight"][0, 0] += 1e-3
    save_file(tensors, file)


@pytest.mark.parametrize("change", [changed_weights, changed_mean, changed_head])
def test_a_classifier_that_changed_on_the_disk_is_refused(
    tiny_store: Store, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FULL, backbone="test_resnet"
    )
    load_classifier(run)
    change(run)
    with pytest.raises(MedstrataError, match=r"is not what the run has written|has changed since"):
        load_classifier(run)


@pytest.mark.parametrize("change", [changed_weights, changed_mean])
def test_an_encoder_that_changed_on_the_disk_is_refused(
    encoder: Path, tiny_store: Store, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(encoder, run)
    change(run)
    with pytest.raises(MedstrataError, match="is not what the run has written"):
        finetune(run, tiny_store, "finding", 1.0, tmp_path / "r", FROZEN)
    with pytest.raises(MedstrataError, match="is not what the run has written"):
        read_encoder(EncoderSpec.parse(run), "test_resnet")
    assert not (tmp_path / "r").exists()


@pytest.fixture
def moved(encoder: Path, tiny_store: Store, tmp_path: Path) -> tuple[Path, Path]:
    """A frozen classifier, and the place where the encoder that it rests on lies now."""
    before, after = tmp_path / "before", tmp_path / "elsewhere" / "after"
    shutil.copytree(encoder, before)
    run = finetune(before, tiny_store, "finding", 1.0, tmp_path / "r", FROZEN)
    after.parent.mkdir()
    before.rename(after)
    return run, after


def test_an_encoder_that_was_moved_is_known_by_its_digest(
    moved: tuple[Path, Path], tiny_store: Store, tmp_path: Path
) -> None:
    run, after = moved
    with pytest.raises(MedstrataError, match=r"not at .*before: name the place .* --encoder"):
        load_classifier(run)
    predicted = predict(run, tiny_store, tmp_path / "p.csv", encoder=after)
    assert_predicts_its_test_images(run, predicted)


def test_another_encoder_is_not_taken_for_the_one_that_was_moved(
    moved: tuple[Path, Path], tiny_store: Store, tmp_path: Path
) -> None:
    run, after = moved
    changed_mean(after)
    (after / "result.json").write_text(
        '{"kind": "pretrain"}'
    )  # so that it has no digest of its own
    with pytest.raises(MedstrataError, match="was fitted on another encoder than"):
        predict(run, tiny_store, tmp_path / "p.csv", encoder=after)


def test_a_file_of_imagenet_weights_is_found_from_any_folder(
    encoder: Path, tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").mkdir()
    state = load_file(encoder / "exported" / "backbone.safetensors")
    save_file(state, tmp_path / "w" / "r.safetensors")
    monkeypatch.chdir(tmp_path)
    finetune(
        "imagenet=w/r.safetensors",
        tiny_store,
        "finding",
        1.0,
        "r",
        FROZEN,
        backbone="test_resnet",
    )
    monkeypatch.chdir(tmp_path / "w")
    assert load_classifier(tmp_path / "r").loaded.preprocessing.channels == 3
