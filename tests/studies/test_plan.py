"""The cells of a study, and what each is made with."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from medstrata.evaluation.settings import FinetuneProtocol
from medstrata.studies.cell_settings import pretrain_settings
from medstrata.studies.plan import plan
from medstrata.studies.study_file import as_study, load_study
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
    assert before["full/tiny/moco-1-0-0"].config != after["full/tiny/moco-1-0-0"].config


def test_every_seed_has_a_pretraining_and_is_scored_on_every_draw() -> None:
    cells = {cell.folder: cell for cell in plan(tiny(seeds=2, protocols={"full": {"draws": 3}}))}
    tuned = [name for name in cells if name.startswith("full/tiny/moco-0.5-")]
    assert tuned == [f"full/tiny/moco-0.5-{s}-{d}" for s in range(2) for d in range(3)]
    assert "pretrain/tiny/moco-1" in cells["full/tiny/moco-0.5-1-2"].needs
    # All labels are drawn once.
    assert [name for name in cells if name.startswith("full/tiny/moco-1-")] == [
        "full/tiny/moco-1-0-0",
        "full/tiny/moco-1-1-0",
    ]


@pytest.mark.parametrize(
    ("protocol", "draws", "fraction", "expected"),
    [
        ("frozen", {}, 0.05, 20),
        ("frozen", {}, 0.1, 5),
        ("full", {}, 0.01, 5),
        ("frozen", {}, 1.0, 1),
        ("frozen", 7, 0.01, 7),
        ("frozen", 7, 1.0, 1),
        ("frozen", {0.1: 2}, 0.1, 2),
        ("frozen", {0.1: 2}, 0.01, 20),
    ],
)
def test_few_labels_are_drawn_often(
    protocol: FinetuneProtocol, draws: Any, fraction: float, expected: int
) -> None:
    study = tiny(fractions=[0.01, 0.05, 0.1, 1.0], protocols={protocol: {"draws": draws}})
    assert study.num_draws(protocol, fraction) == expected


def test_a_frozen_encoder_that_is_ready_is_read_out_with_one_seed() -> None:
    arms = {"a": {"encoder": "imagenet"}, "b": {"encoder": "scratch"}}
    cells = plan(tiny(arms=arms, seeds=3, fractions=[1.0]))
    counts = Counter((cell.kind, cell.arm) for cell in cells)
    assert counts["frozen", "a"] == 1
    assert counts["frozen", "b"] == counts["full", "a"] == 3


def test_reuse_looks_at_networks_that_are_tuned() -> None:
    cells = {
        cell.folder: cell
        for cell in plan(tiny(seeds=3, protocols={"full": {"draws": 2}}, reuse={}))
    }
    needed = [cell.needs[-1] for cell in cells.values() if cell.kind == "reuse"]
    assert "full/tiny/moco-0.5-2-0" in needed
    assert set(needed) <= cells.keys()


def test_figures_of_the_authors_code_change_the_cells_that_have_them() -> None:
    analyses: dict[str, Any] = {"probe": {}, "reuse": {}, "atlas": {}}
    plain, legacy = (plan(tiny(legacy=legacy, **analyses)) for legacy in (False, True))
    changed = {one.kind for one, other in zip(plain, legacy, strict=True) if one != other}
    assert changed == {"full", "frozen", "reuse"}


def test_the_study_of_the_docs_and_those_that_are_shipped_can_be_planned() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "guide" / "study.md").read_text()
    shown = as_study(yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0]))
    changed = pretrain_settings(shown, "cxr", "moco_mse", 0)
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
        f"{kind}_same/tiny/{arm}-0.5-0-0"
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
