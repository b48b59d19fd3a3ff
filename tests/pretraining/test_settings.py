import math
from dataclasses import replace

import pytest
import torch

from medstrata.models import preprocessing
from medstrata.pretraining.recipes import RECIPES, recipe
from medstrata.pretraining.schedule import lr_factor
from medstrata.pretraining.settings import (
    ContrastiveSettings,
    IntermediateSettings,
    PretrainSettings,
)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipe_carries_its_name(name: str) -> None:
    assert recipe(name).recipe == name


@pytest.mark.parametrize("data", ["chest", "histopathology", "retina"])
def test_paper_recipes_as_shipped(data: str) -> None:
    moco, mse, bt = (recipe(f"paper/{data}/{arm}") for arm in ("moco", "moco_mse", "moco_bt"))
    for settings in (moco, mse, bt):
        assert settings.backbone == "resnet50"
        assert settings.contrastive == replace(
            moco.contrastive,
            hidden_layers=0,
            temperature=0.07,
            momentum=0.999,
            head_size=128,
            queue_size=65_536,
            mask_own_keys=False,
            key_sub_batches=1,
        )
        assert (settings.optimizer.lr, settings.optimizer.lr_batch) == (0.03, 0)
        assert settings.optimizer.schedule == "constant"
        assert settings.batch_size == {"chest": 16, "histopathology": 32, "retina": 8}[data]
        assert settings.views.size == {"chest": 512, "histopathology": 255, "retina": 299}[data]
        assert settings.normalize == "none"
        assert settings.in_channels == 3
    assert [s.zero_init_residual for s in (moco, mse, bt)] == [False, True, True]
    assert bt.intermediate.on_weight == bt.intermediate.off_weight == 5e-5 / 32
    assert set(mse.intermediate.weights.values()) == {0.25}
    maps = {"stage1": 16, "stage2": 16, "stage3": 4, "stage4": 4}
    assert mse.intermediate.grids == (dict.fromkeys(maps, 1) if data == "histopathology" else maps)
    assert moco.contrastive.cap_queue == (data != "retina")


def test_fair_recipes_differ_in_the_intermediate_loss_alone() -> None:
    base = recipe("fair/moco")
    for arm in ("moco_mse", "moco_bt", "moco_cosine"):
        other = recipe(f"fair/{arm}")
        assert replace(other, recipe=base.recipe, intermediate=base.intermediate) == base
    bt = recipe("fair/moco_bt").intermediate
    assert bt.off_weight / bt.on_weight == pytest.approx(0.0051)


def test_overrides_reach_nested_settings_and_unknown_ones_are_named() -> None:
    changed = recipe("fair/moco", epochs=3, contrastive={"queue_size": 7})
    assert (changed.epochs, changed.contrastive.queue_size) == (3, 7)
    assert changed.contrastive.temperature == 0.2
    with pytest.raises(ValueError, match=r"no setting 'epoch'; there are .*epochs"):
        recipe("fair/moco", epoch=3)
    with pytest.raises(ValueError, match="no recipe 'moco'; there are fair/moco"):
        recipe("moco")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContrastiveSettings(temperature=0), "temperature must be above 0, got 0"),
        (lambda: ContrastiveSettings(momentum=1.1), "momentum must be between 0 and 1"),
        (lambda: ContrastiveSettings(queue_size=0), "queue_size must be 1 or more"),
        (lambda: IntermediateSettings(weights={"layer1": 1.0}), "weights must be a mapping from"),
        (lambda: PretrainSettings(epochs=0), "epochs must be 1 or more, got 0"),
    ],
)
def test_values_out_of_range_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_cosine_schedule_by_hand() -> None:
    def at(step: int) -> float:
        return lr_factor(step, steps=12, warmup_steps=4, schedule="cosine")

    assert [at(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert at(4) == 1.0
    assert at(8) == pytest.approx(0.5)
    assert at(11) == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert lr_factor(11, steps=12, warmup_steps=4, schedule="constant") == 1.0


def test_preprocessing_by_hand() -> None:
    expected = preprocessing.by_store(2, 3, (0.5,), (0.25,))
    pixels = torch.tensor([0, 255, 127, 64], dtype=torch.uint8).reshape(1, 2, 2, 1)
    images = expected(pixels)
    assert images.shape == (1, 3, 2, 2)
    by_hand = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(images, by_hand.expand(1, 3, 2, 2))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_preprocessing_kinds() -> None:
    colour = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    plain = preprocessing.identity(4, 3)(colour)
    torch.testing.assert_close(plain, colour.permute(0, 3, 1, 2) / 255)
    mean = torch.tensor(preprocessing.IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.IMAGENET_STD).view(1, 3, 1, 1)
    torch.testing.assert_close(
        preprocessing.imagenet(4, 3)(colour), (plain - mean) / std, atol=1e-5, rtol=1e-5
    )
    assert preprocessing.imagenet(4, 1).mean == pytest.approx((0.449,), abs=1e-3)
    with pytest.raises(ValueError, match="3 channels for an encoder of 1"):
        preprocessing.identity(4, 1)(colour)
