"""What the images decide of a run: rules, what the user names, which images, what is said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import RECIPES, recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import resolve, resolve_sizes, say_plan, training_rows
from medstrata.runtime.errors import MedstrataError
from support.runs import assert_equal_states, final_state, records, without_times

SMALL = {"backbone": "test_resnet", "batch_size": 8, "steps": 4}


@pytest.mark.parametrize(
    ("images", "batch", "length", "queue", "momentum", "warmup"),
    [
        (3494, 128, {}, 3328, 0.99, 27),  # 27 steps an epoch
        (300, 128, {}, 128, 0.99, 2),  # one whole batch beside the batch itself
        (200, 128, {}, 72, 0.99, 1),  # less than a batch is left
        (100_000, 128, {}, 4096, 0.99, 200),  # an epoch would be 781 of 4,000 steps
        (100_000, 128, {"steps": 8000}, 4096, 0.99, 400),
        (100_000, 128, {"steps": 20_000}, 4096, 0.996, 781),
        (100_000, 256, {"epochs": 2000}, 4096, 0.999, 390),
        (3494, 100, {}, 3300, 0.99, 34),
    ],
)
def test_rules(
    images: int, batch: int, length: dict[str, int], queue: int, momentum: float, warmup: int
) -> None:
    resolved = resolve_sizes(recipe("fair/moco", batch_size=batch, **length), images)
    assert (resolved.queue_size, resolved.momentum) == (queue, momentum)
    assert resolved.warmup_steps == warmup
    settings = resolved.settings
    assert resolved.steps == settings.total_steps(images)
    assert settings.contrastive.queue_size == queue
    assert settings.contrastive.momentum == momentum
    assert settings.optimizer.warmup_steps == warmup
    named = length or {"steps": 4000}
    assert (settings.epochs, settings.steps) == (named.get("epochs"), named.get("steps"))
    assert (
        resolve_sizes(settings, images) == resolved
    )  # what config.yaml holds means the same again


def test_what_is_named_stays() -> None:
    settings = recipe(
        "fair/moco",
        contrastive={"momentum": 0.5, "queue_size": 77, "key_part_size": 9},
        optimizer={"warmup_steps": 0, "lr": 0.01},
        steps=7,
    )
    assert resolve_sizes(settings, 3494).settings == settings


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("paper/")])
def test_the_papers_recipes_keep_what_the_paper_has(name: str) -> None:
    settings = recipe(name)
    assert resolve_sizes(settings, 100_000).settings == settings
    queue = resolve_sizes(settings, 1000).queue_size
    assert queue == (65_536 if "retina" in name else 1000 - settings.batch_size)


def test_it_is_said_in_one_line_and_recorded(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = pretrain(tiny_store, recipe("fair/moco", **SMALL), tmp_path / "run")
    (line,) = (one for one in capsys.readouterr().err.splitlines() if "queue" in one)
    assert line == (
        "fair/moco on 30 images: 4 steps of 8 (1.333 epochs), queue 16, key momentum 0.99, "
        "learning rate 0.00375 after 0 steps of warm-up, key parts of 4 images"
    )
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["epochs"], config["steps"]) == (None, 4)
    assert (config["contrastive"]["queue_size"], config["contrastive"]["momentum"]) == (16, 0.99)
    assert config["optimizer"]["warmup_steps"] == 0


def test_a_queue_longer_than_the_images_is_warned_of(
    tiny_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe("paper/retina/moco")
    say_plan(resolve(settings, tiny_store, 60), tiny_store, 60)
    assert "warning: queue of 65536 for 60 images" in capsys.readouterr().err
    settings = recipe("fair/moco", batch_size=30)
    say_plan(resolve(settings, tiny_store, 60), tiny_store, 60)
    assert "warning" not in capsys.readouterr().err


def test_a_queue_shorter_than_a_batch_is_warned_of_with_the_batch_to_take(
    tiny_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe("fair/moco", batch_size=59)
    say_plan(resolve(settings, tiny_store, 60), tiny_store, 60)
    said = capsys.readouterr().err
    assert "warning: queue of 1 for batches of 59: each image is told from few others" in said
    assert "--batch-size 30 or less" in said


def test_fewer_images_than_a_batch_name_those_held_back(tiny_store: Store) -> None:
    with pytest.raises(MedstrataError, match=r"the 30 images .*--batch-size, or --images all, "):
        training_rows(recipe("fair/moco", batch_size=40), tiny_store)
    assert len(training_rows(recipe("fair/moco", batch_size=40, images="all"), tiny_store)) == 60
    with pytest.raises(MedstrataError, match=r"give a smaller --batch-size$"):
        training_rows(recipe("fair/moco", batch_size=61, images="all"), tiny_store)


def test_the_network_is_recorded_by_timms_name(tiny_store: Store) -> None:
    settings = recipe("fair/moco", backbone="hf-hub:timm/resnet18.a1_in1k", batch_size=8)
    assert resolve(settings, tiny_store, 60).settings.backbone == "resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("dataset", "options", "said"),
    [
        ("chexpert", {}, "--modality chest has views for them"),
        ("pcam", {}, "--modality histopathology"),
        ("aptos-2019", {}, "--modality retina"),
        ("chexpert", {"modality": "chest"}, ""),
        ("dermamnist", {}, ""),
        (None, {}, ""),
    ],
)
def test_a_known_data_set_proposes_its_modality_and_changes_nothing(
    dataset: str | None,
    options: dict[str, Any],
    said: str,
    tiny_store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = recipe("fair/moco", **options)
    plain = resolve(settings, tiny_store, 60)
    monkeypatch.setattr(tiny_store, "plan", {**tiny_store.plan, "dataset": dataset})
    assert resolve(settings, tiny_store, 60) == plain
    say_plan(plain, tiny_store, 60)
    lines = [one for one in capsys.readouterr().err.splitlines() if "--modality" in one]
    assert len(lines) == bool(said)
    assert said in "".join(lines)


# --- Near copies -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 images to train on: 15 pictures, three of them equal, two near-identical in threes."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number in range(15):
        picture = cv2.resize(generator.integers(0, 256, (12, 12), dtype=np.uint8), (64, 64))
        versions = [picture]
        if number < 3:
            versions.append(picture)
        elif number < 6:
            versions += [cv2.convertScaleAbs(picture, alpha=0.9, beta=b) for b in (10, 14)]
        for version, pixels in enumerate(versions):
            name = f"{number:02d}{version}.png"
            cv2.imwrite(str(folder / "images" / name), pixels)
            rows.append({"file": name, "patient_id": str(number), "split": "train"})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    settings = PrepareSettings(labels=folder / "labels.csv", size=64, split="split")
    return prepare(folder / "images", folder / "s.store", settings)


def test_one_of_each_group_of_copies_is_kept_and_said(
    copies: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    every = recipe("fair/moco", **SMALL)
    assert len(training_rows(every, copies)) == 24
    rows = training_rows(replace(every, skip_near_copies=True), copies)
    kept = [Path(one).stem for one in copies.manifest["source"].to_numpy()[rows]]
    assert kept == [f"{number:02d}0" for number in range(15)]
    assert (
        "near copies: 9 of 24 images left out, one of each of 6 groups kept"
        in capsys.readouterr().err
    )


def test_a_run_without_copies_is_recorded_and_goes_on(copies: Store, tmp_path: Path) -> None:
    settings = recipe("fair/moco", **SMALL, skip_near_copies=True)
    whole = pretrain(copies, settings, tmp_path / "whole")
    result = json.loads((whole / "result.json").read_text())
    assert (result["images"], result["near_copies_left_out"]) == (15, 9)
    assert yaml.safe_load((whole / "config.yaml").read_text())["skip_near_copies"] is True
    assert records(whole, "epoch")[0]["step"] == 1  # 15 images hold one batch of 8
    out = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop._finish", _fail)
        with pytest.raises(RuntimeError):
            pretrain(copies, settings, out)
    pretrain(copies, settings, out, resume=True)
    assert_equal_states(final_state(whole), final_state(out))
    assert without_times(whole) == without_times(out)


def _fail(*_: object) -> None:
    raise RuntimeError


def test_settings_of_a_class_alone_are_those_of_a_fair_run() -> None:
    assert replace(recipe("fair/moco"), recipe="") == PretrainSettings()
