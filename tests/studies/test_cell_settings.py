"""Which settings the cells of a study get, and that none is refused hours later."""

from typing import Any

import pytest

from medstrata.data.view_settings import views_for_modality
from medstrata.studies.cell_settings import pretrain_settings
from support.small_study import tiny


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocols": {"full": {"settings": {"epoch": 1}}}}, "no setting 'epoch'"),
        ({"pretrain": {"epochs": 0}}, "epochs must be 1 or more"),
        ({"reuse": {"settings": {"subset": 5}}}, "no setting 'subset'; there are subsets"),
        ({"atlas": {"settings": {"queries": 0}}}, "AtlasSettings.queries must be 1"),
        ({"probe": {"settings": {"layer": 1}}}, "no setting 'layer'"),
        ({"arms": {"a": {"recipe": "fair/moco", "pretrain": {"modality": "x"}}}}, "modality"),
    ],
)
def test_a_cell_that_cannot_have_its_settings_is_refused_with_the_study(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(".", r"\.")) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_the_modality_of_a_set_brings_its_views_and_other_changes_stand() -> None:
    study = tiny(
        arms={"ours": {"recipe": "recommended"}},
        pretrain={"steps": 9},
        data={
            "chest": {"store": "c", "task": "t", "modality": "chest"},
            "other": {"store": "o", "task": "t", "views": {"size": 24}},
        },
    )
    chest, other = (pretrain_settings(study, name, "ours", 0) for name in ("chest", "other"))
    assert chest is not None
    assert other is not None
    assert (chest.views, chest.intermediate.loss) == (views_for_modality("chest"), "mse")
    assert (other.views, other.intermediate.loss) == (views_for_modality(None, 24), "barlow_twins")
    assert chest.steps == other.steps == 9


def test_an_arm_may_leave_the_modality_of_its_set() -> None:
    study = tiny(
        arms={"moco": {"recipe": "fair/moco", "pretrain": {"modality": None}}},
        data={"chest": {"store": "c", "task": "t", "modality": "chest"}},
    )
    settings = pretrain_settings(study, "chest", "moco", 0)
    assert settings is not None
    assert settings.views == views_for_modality(None)
