"""A network that is fine-tuned whole: where it starts, what it keeps, what validation chooses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medstrata.data.store.store import Store
from medstrata.data.view_settings import mild
from medstrata.evaluation import finetune_full, setup
from medstrata.evaluation.classifier import load_classifier
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.seeded_encoder import seeded_encoder
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.tuned_network import Classifier
from medstrata.evaluation.tuning_optimizer import make_optimizer
from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import LoadedEncoder
from medstrata.runtime.errors import MedstrataError

QUICK = FinetuneSettings(epochs=2, min_steps=2, batch_size=8, resamples=10, lr=1e-3)


def run(encoder: Path | str, store: Store, out: Path, settings: FinetuneSettings) -> Path:
    backbone = "test_resnet" if encoder == "scratch" else None
    return finetune(encoder, store, "finding", 1.0, out, settings, backbone=backbone)


def validations(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def test_the_validation_with_the_best_score_is_the_one_tested(tuned: Path) -> None:
    values = [line["val_score"] for line in validations(tuned)]
    assert result(tuned)["best_validation"] == int(np.argmax(values))
    assert result(tuned)["val"]["value"] == pytest.approx(max(values), abs=1e-6)


def test_the_start_is_the_read_out_of_the_frozen_encoder(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    frozen = replace(QUICK, protocol="frozen", layer="pooled")
    read = result(run(encoder, tiny_store, tmp_path / "frozen", frozen))
    first = validations(run(encoder, tiny_store, tmp_path / "full", QUICK))[0]
    assert (first["validation"], first["epoch_of_lr"]) == (0, 0)
    assert "train_loss" not in first
    assert first["val_score"] == pytest.approx(read["val"]["value"], abs=1e-6)


def test_where_training_brings_nothing_the_read_out_is_tested(
    tiny_store: Store, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harmful = replace(QUICK, lr=0.5, epochs=1)
    tuned = run(encoder, tiny_store, tmp_path / "full", harmful)
    frozen = replace(QUICK, protocol="frozen", layer="pooled")
    read = result(run(encoder, tiny_store, tmp_path / "frozen", frozen))
    assert result(tuned)["best_validation"] == 0
    assert "no training of the network validated better" in capsys.readouterr().err
    ours, theirs = (one["test"]["scores"]["macro_auroc"]["value"] for one in (result(tuned), read))
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_every_learning_rate_starts_alike_and_validation_chooses(
    tiny_store: Store, tmp_path: Path
) -> None:
    both = run("scratch", tiny_store, tmp_path / "both", replace(QUICK, lr=(1e-4, 1e-2)))
    alone = run("scratch", tiny_store, tmp_path / "alone", replace(QUICK, lr=1e-2))
    lines = validations(both)
    assert [line["validation"] for line in lines] == list(range(5))
    assert [line["lr"] for line in lines] == [1e-4] * 3 + [1e-2] * 2
    for one, other in zip(lines[3:], validations(alone)[1:], strict=True):
        assert one["val_loss"] == other["val_loss"]
        assert one["train_loss"] == other["train_loss"]
    chosen = result(both)
    assert chosen["chosen"]["lr"] == lines[chosen["best_validation"]]["lr"]


@pytest.mark.parametrize(("below", "kept"), [(31, True), (30, False)])
def test_statistics_of_a_trained_encoder_are_kept_where_labels_are_few(
    tiny_store: Store, encoder: Path, tmp_path: Path, below: int, kept: bool
) -> None:
    """The store has 30 labelled training images."""
    zero = replace(QUICK, head="zero", keep_statistics_below=below)
    tuned = run(encoder, tiny_store, tmp_path / "run", zero)
    before, after = (
        load_file(folder / "exported" / "backbone.safetensors") for folder in (encoder, tuned)
    )
    names = [name for name in before if name.endswith("running_mean")]
    assert names
    assert all(torch.equal(before[name], after[name]) for name in names) is kept
    assert not torch.equal(before["conv1.0.weight"], after["conv1.0.weight"])


def test_random_weights_have_no_statistics_to_keep(tiny_store: Store, tmp_path: Path) -> None:
    tuned = run("scratch", tiny_store, tmp_path / "run", replace(QUICK, head="zero"))
    after = load_file(tuned / "exported" / "backbone.safetensors")
    assert any(value.any() for name, value in after.items() if name.endswith("running_mean"))


def test_patience_ends_a_learning_rate(tiny_store: Store, tmp_path: Path) -> None:
    still = replace(QUICK, lr=(1e-12, 2e-12), epochs=6, patience=2, keep_statistics_below=10**6)
    tuned = run("scratch", tiny_store, tmp_path / "run", replace(still, head="zero"))
    # Nothing moves but statistics, which a random network has not kept: scores may differ.
    best, ended = 0.0, 0
    for lr in (1e-12, 2e-12):
        scores = [line["val_score"] for line in validations(tuned) if line["lr"] == lr]
        gains = [
            number for number, value in enumerate(scores) if value > max([best, *scores[:number]])
        ]
        without_gain = len(scores) - 1 - (gains[-1] if gains else -1)
        assert len(scores) == 6 or without_gain == 2
        assert without_gain <= 2
        best, ended = max(best, *scores), ended + (len(scores) < 6)
    assert ended


def test_the_encoder_that_is_given_stays_as_it_is(
    tiny_store: Store, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def kept(*args: Any, **options: Any) -> LoadedEncoder:
        given.append(seeded_encoder(*args, **options))
        return given[-1]

    monkeypatch.setattr(setup, "seeded_encoder", kept)
    tuned = run(encoder, tiny_store, tmp_path / "run", replace(QUICK, head="zero"))
    before, after = (
        load_file(folder / "exported" / "backbone.safetensors") for folder in (encoder, tuned)
    )
    (loaded,) = given
    for name, value in loaded.backbone.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(after["conv1.0.weight"], before["conv1.0.weight"])


def test_lower_layers_learn_slower_with_layer_decay() -> None:
    model = Classifier(create_backbone("test_resnet", in_channels=1, image_size=32), 1)
    settings = FinetuneSettings(optimizer="adamw", layer_decay=0.5, weight_decay=0.1)
    optimizer = make_optimizer(model, 1e-3, settings)
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(rates) == len(list(model.parameters()))
    named = dict(model.backbone.model.named_parameters())
    assert rates[id(model.head.weight)] == 1e-3
    assert rates[id(named["conv1.0.weight"])] < rates[id(named["layer3.0.conv1.weight"])] < 1e-3
    with pytest.raises(ValueError, match="layer_decay must be 1 with adam"):
        FinetuneSettings(layer_decay=0.5)


def test_an_image_size_other_than_the_encoders_is_what_it_is_tuned_with(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    tuned = run(encoder, tiny_store, tmp_path / "run", replace(QUICK, epochs=1, views=mild(24)))
    assert load_classifier(tuned).loaded.preprocessing.image_size == 24


def test_a_network_of_one_size_refuses_another(tiny_store: Store, tmp_path: Path) -> None:
    name = "test_vit"
    first = replace(QUICK, epochs=1, views=mild(32))
    tuned = finetune("scratch", tiny_store, "finding", 1.0, tmp_path / "vit", first, backbone=name)
    with pytest.raises(MedstrataError, match="takes images of 32 pixels only"):
        run(tuned, tiny_store, tmp_path / "run", replace(QUICK, views=mild(48)))
    assert not (tmp_path / "run").exists()


def test_balanced_weights_change_what_is_learned(tiny_store: Store, tmp_path: Path) -> None:
    grades = [
        finetune(
            "scratch",
            tiny_store,
            "grade",
            0.5,
            tmp_path / weights,
            replace(QUICK, epochs=1, head="zero", class_weights=weights),
            kind="multiclass",
            backbone="test_resnet",
        )
        for weights in ("equal", "balanced")
    ]
    first, second = (validations(one)[0]["train_loss"] for one in grades)
    assert first != second


def test_a_rate_that_breaks_the_network_is_named(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    words = r"(training loss is|is not finite) .*at learning rate 1e\+30; lower --lr"
    with pytest.raises(MedstrataError, match=words):
        run(encoder, tiny_store, tmp_path / "run", replace(QUICK, lr=1e30))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("task_loss", "training loss is nan"),
        ("_logits", "an output for a validation image is not finite"),
    ],
)
def test_a_broken_loss_and_a_broken_output_are_told_apart(
    broken: str,
    said: str,
    tiny_store: Store,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    working = getattr(finetune_full, broken)
    monkeypatch.setattr(finetune_full, broken, lambda *given: working(*given) * torch.nan)
    with pytest.raises(MedstrataError, match=f"{said} in epoch . at learning rate .*; lower --lr"):
        run(encoder, tiny_store, tmp_path / "run", replace(QUICK, head="zero"))
