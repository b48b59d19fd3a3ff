"""The cells of a study, and what each is made with."""

from pathlib import Path

import pytest
import yaml

from medstrata.studies.plan import plan
from medstrata.studies.settings import as_study, load_study
from support.small_study import TINY, tiny


def test_the_task_does_not_decide_the_store_or_the_pretraining() -> None:
    other = {"tiny": {**TINY["data"]["tiny"], "task": "grade"}}
    before = {cell.folder: cell for cell in plan(tiny())}
    after = {
        cell.folder: cell
        for cell in plan(tiny(data=other, pretrain={**TINY["pretrain"], "knn_task": "finding"}))
    }
    assert before["stores/tiny.store"].config == after["stores/tiny.store"].config
    assert before["pretrain/tiny/moco-0"].config == after["pretrain/tiny/moco-0"].config
    assert before["full/tiny/moco-1-0"].config != after["full/tiny/moco-1-0"].config


def test_pretraining_seeds_are_shared_out() -> None:
    cells = {cell.folder: cell for cell in plan(tiny(seeds=3, pretrain_seeds=2))}
    assert "pretrain/tiny/moco-1" in cells["full/tiny/moco-1-1"].needs
    assert "pretrain/tiny/moco-0" in cells["full/tiny/moco-1-2"].needs


def test_the_study_of_the_docs_and_those_that_are_shipped_can_be_planned() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "guide" / "study.md").read_text()
    shown = as_study(yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0]))
    changed = shown.pretraining("cxr", "moco_mse", 0)
    assert changed is not None
    assert changed.intermediate.weights == {"stage3": 0.5, "stage4": 0.5}
    assert changed.views.rotation == 15
    for study in [shown, *map(load_study, sorted((root / "studies").glob("*.yaml")))]:
        assert len(plan(study)) > 100


def test_the_smallest_fraction_is_also_chosen_by_as_few_validation_labels():
    cells = [cell for cell in plan(tiny(validation={})) if cell.kind in ("full", "frozen")]
    same = [cell for cell in cells if cell.validation == "same"]
    assert {cell.fraction for cell in same} == {0.5}
    assert {cell.folder for cell in same if cell.seed == 0} == {
        f"{kind}_same/tiny/{arm}-0.5-0"
        for kind in ("full", "frozen")
        for arm in ("scratch", "moco")
    }
    alike = {cell.folder: cell for cell in cells}
    for cell in same:
        assert alike[cell.folder.replace("_same/", "/")].digest != cell.digest


@pytest.mark.parametrize(
    ("validation", "wanted"),
    [
        ({"full": [1.0], "same": []}, {("full", 1.0)}),
        ({"same": [0.5, 1.0]}, {("full", 0.5), ("full", 1.0), ("same", 0.5)}),
    ],
)
def test_a_study_says_which_validation_labels_choose(validation, wanted):
    cells = plan(tiny(validation=validation))
    made = {(one.validation, one.fraction) for one in cells if one.kind in ("full", "frozen")}
    assert made == wanted


def test_validation_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"validation.same: 0.3 is not among the fractions"):
        tiny(validation={"same": [0.3]})
    with pytest.raises(ValueError, match="validation is said of the study"):
        tiny(protocols={"frozen": {"settings": {"validation": "same"}}})
