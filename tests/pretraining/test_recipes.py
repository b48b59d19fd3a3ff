"""Recipes are as shipped, and what is changed in one reaches it."""

from dataclasses import replace

import pytest

from medstrata.pretraining.recipes import RECIPES, recipe


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
