"""What a recipe builds."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from medstrata.data.store.store import Store
from medstrata.models.backbones import create_backbone
from medstrata.pretraining.build import build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.losses import build_intermediate
from medstrata.pretraining.recipes import RECIPES, recipe
from medstrata.pretraining.settings import IntermediateSettings
from medstrata.pretraining.sizing import resolve
from medstrata.runtime.errors import MedstrataError


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_builds_and_its_loss_is_finite(
    name: str, tiny_store: Store, tmp_path: Path
) -> None:
    settings = recipe(
        name,
        backbone="test_resnet",
        batch_size=8,
        in_channels=3,
        views={"size": 32},
        intermediate={"projector_size": 16},
        contrastive={"queue_size": 20},
    )
    resolved = resolve(settings, tiny_store, len(tiny_store))
    training = build(Accelerator(cpu=True), resolved, tiny_store, tiny_store.rows(), tmp_path)
    batches = training.loader.epoch(0)
    loss = training_step(training, next(batches))
    batches.close()
    assert torch.isfinite(loss.total)
    expected = set() if name.endswith("moco") else {"stage1", "stage2", "stage3", "stage4"}
    assert loss.intermediate.keys() == expected


def test_ablation_is_a_setting() -> None:
    backbone = create_backbone("test_resnet", in_channels=1, image_size=32)
    weights = {"stage3": 0.5, "stage4": 0.0}
    losses = build_intermediate(
        IntermediateSettings(loss="mse", weights=weights), backbone.stage_channels
    )
    assert losses.weights == {"stage3": 0.5}


@pytest.mark.parametrize(
    ("batch", "size", "parts"), [(8, 64, 2), (12, 3, 4), (30, 4, 7), (3, 0, 1)]
)
def test_keys_are_shuffled_in_two_parts_at_least(
    batch: int, size: int, parts: int, tiny_store: Store, tmp_path: Path
) -> None:
    settings = recipe(
        "fair/moco",
        backbone="test_resnet",
        batch_size=batch,
        contrastive={"key_part_size": size},
    )
    resolved = resolve(settings, tiny_store, len(tiny_store))
    training = build(Accelerator(cpu=True), resolved, tiny_store, tiny_store.rows(), tmp_path)
    assert training.model.key_sub_batches == parts


def test_too_few_images_to_be_shuffled_are_refused(tiny_store: Store, tmp_path: Path) -> None:
    settings = recipe("fair/moco", backbone="test_resnet", batch_size=3)
    resolved = resolve(settings, tiny_store, len(tiny_store))
    with pytest.raises(MedstrataError, match="3 images a process cannot be shuffled in 2 parts"):
        build(Accelerator(cpu=True), resolved, tiny_store, tiny_store.rows(), tmp_path)
