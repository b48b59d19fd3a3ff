"""Recipes are as shipped, and what is changed in one reaches it."""

from dataclasses import replace
from pathlib import Path

import pytest

from medstrata.data.view_settings import Modality, views_for_modality
from medstrata.pretraining.recipes import RECIPES, recipe, settings_from


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
            key_part_size=0,
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


def test_overrides_reach_nested_settings_and_unknown_ones_are_named() -> None:
    changed = recipe("fair/moco", epochs=3, contrastive={"queue_size": 7})
    assert (changed.epochs, changed.contrastive.queue_size) == (3, 7)
    assert changed.contrastive.temperature == 0.2
    with pytest.raises(ValueError, match=r"no setting 'epoch'; there are .*epochs"):
        recipe("fair/moco", epoch=3)
    with pytest.raises(ValueError, match="no recipe 'moco'; there are recommended, fair/moco"):
        recipe("moco")


def test_epochs_stand_instead_of_steps_and_the_reverse() -> None:
    settings = recipe("recommended", epochs=3)
    assert (settings.epochs, settings.steps) == (3, None)
    settings = recipe("paper/chest/moco", steps=30)
    assert (settings.epochs, settings.steps) == (None, 30)
    with pytest.raises(ValueError, match="steps must be none where epochs is 3"):
        recipe("fair/moco", epochs=3, steps=30)


@pytest.mark.parametrize(
    ("modality", "loss"),
    [(None, "barlow_twins"), ("retina", "barlow_twins"), ("histopathology", "barlow_twins"),
     ("chest", "mse")],
)  # fmt: skip
def test_a_modality_brings_its_views_and_the_recommended_loss(
    modality: Modality | None, loss: str
) -> None:
    settings = recipe("recommended", modality=modality, views={"size": 40})
    assert settings.views == views_for_modality(modality, 40)
    assert (settings.modality, settings.intermediate.loss) == (modality, loss)
    fair = recipe("fair/moco", modality=modality, views={"horizontal_flip": 0.25})
    assert fair.views == replace(views_for_modality(modality), horizontal_flip=0.25)


def test_of_several_sets_of_changes_the_last_word_stands_and_the_last_modality_comes_first() -> (
    None
):
    settings = settings_from(
        "fair/moco",
        {"modality": "retina", "steps": 9, "views": {"horizontal_flip": 0.25}},
        {"modality": "histopathology", "epochs": 2},
        {},
    )
    assert (settings.epochs, settings.steps, settings.modality) == (2, None, "histopathology")
    assert settings.views == replace(views_for_modality("histopathology"), horizontal_flip=0.25)


def test_a_file_is_changed_as_a_recipe_is_and_keeps_its_own_views(tmp_path: Path) -> None:
    file = str(tmp_path / "own.yaml")
    Path(file).write_text("recipe: fair/moco\nepochs: 3\nstore: s\nviews: {size: 40}\n")
    settings = recipe(file, steps=9)
    assert settings == recipe("fair/moco", steps=9, views={"size": 40})
    with pytest.raises(ValueError, match=r"own\.yaml has its own views"):
        recipe(file, modality="chest")
    Path(file).write_text("epoch: 3\n")
    with pytest.raises(ValueError, match=r"own\.yaml: no setting 'epoch'; there are .*epochs"):
        recipe(file)


def test_a_modality_that_is_not_the_papers_is_refused() -> None:
    assert recipe("paper/chest/moco", modality="chest") == recipe("paper/chest/moco")
    with pytest.raises(ValueError, match="recipe paper/chest/moco is for chest, not for retina"):
        recipe("paper/chest/moco", modality="retina")


def test_no_recipe_but_its_own_has_the_centred_cosine() -> None:
    losses = {name: recipe(name).intermediate.loss for name in RECIPES}
    assert [name for name, loss in losses.items() if loss == "centered_cosine"] == [
        "fair/moco_cosine"
    ]
