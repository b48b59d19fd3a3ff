"""Paired differences on made-up runs whose truth is known."""

from pathlib import Path

import pytest

from medstrata.report.compare.conclusions import conclusions, leader_sentence
from medstrata.report.compare.differences import ContrastFamily, all_baselines, families
from medstrata.runtime.errors import MedstrataError
from support.predicted_runs import comparison_in, seeds

THIN = "\N{NARROW NO-BREAK SPACE}"


def families_of(folder: Path) -> tuple[ContrastFamily, ...]:
    return families(comparison_in(folder))


def test_identical_arms_do_not_differ(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    (family,) = families_of(tmp_path)
    contrast = family.contrasts["moco", 0.1]
    assert (contrast.difference.value, contrast.difference.p_value, contrast.adjusted) == (0, 1, 1)
    assert (contrast.seeds, contrast.draws, contrast.better) == ((3, 3), 2, 0)


def test_better_and_worse_arms_are_found_and_said(tmp_path, patients):
    for arm, skill in {"scratch": 1.5, "moco": 1.5, "moco_bt": 6.0, "moco_mse": 0.0}.items():
        seeds(tmp_path, patients, arm, skill, own=len(arm))
    comparison = comparison_in(tmp_path)
    found = families(comparison)
    assert [family.baseline for family in found] == ["scratch", "moco"]
    # Scratch and MoCo have met in the first table.
    assert [set(family.arms) for family in found] == [
        {"moco", "moco_bt", "moco_mse"},
        {"moco_bt", "moco_mse"},
    ]
    assert [found[1].contrasts[arm, 0.1].better for arm in ("moco_bt", "moco_mse")] == [1, -1]
    contrast = found[1].contrasts["moco_bt", 0.1]
    column = comparison.column(0.1, "macro_auroc")
    expected = column["moco_bt"].value - column["moco"].value
    assert contrast.difference.value == pytest.approx(expected)
    assert contrast.difference.p_value <= contrast.adjusted <= 2 * contrast.difference.p_value
    ((_, said),) = conclusions(comparison, found)
    assert f"Against plain MoCo, moco_bt (+{expected:.3f}) is clearly better; " in said
    assert "is clearly worse." in said


def test_an_arm_is_a_baseline_when_it_is_named(tmp_path, patients):
    """The standing baselines come first, so that their tables stay whole."""
    for arm in ("scratch", "ours", "ours_too"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    comparison = comparison_in(tmp_path)
    found = families(comparison, all_baselines([comparison], ["ours"]))
    assert [(one.baseline, one.arms) for one in found] == [
        ("scratch", ("ours", "ours_too")),
        ("ours", ("ours_too",)),
    ]
    assert ("ours_too", 0.1) in found[1].contrasts
    with pytest.raises(MedstrataError, match=r"baseline theirs: .* there are ours, ours_too and"):
        all_baselines([comparison], ["theirs"])


def test_nothing_is_claimed_of_arms_that_differ_by_chance(tmp_path, patients):
    for arm in ("moco", "moco_bt"):
        seeds(tmp_path, patients, arm, 1.0, own=10 + len(arm))
    found = families_of(tmp_path)
    assert found[0].contrasts["moco_bt", 0.1].better == 0
    comparison = comparison_in(tmp_path)
    ((_, said),) = conclusions(comparison, found)
    assert said.endswith("Against plain MoCo, moco_bt is not clearly apart.")


@pytest.mark.parametrize(
    ("count", "words"), [(1, "one pre-training run"), (2, "2 pre-training runs")]
)
def test_few_pretraining_runs_get_no_verdict_whatever_their_p(tmp_path, patients, count, words):
    seeds(tmp_path, patients, "scratch", 0.0, 0)
    seeds(tmp_path, patients, "moco", 6.0, 1, count=count)
    comparison = comparison_in(tmp_path)
    (family,) = found = families(comparison)
    contrast = family.contrasts["moco", 0.1]
    assert contrast.adjusted < 0.05
    assert (contrast.better, contrast.seeds, contrast.draws) == (0, (count, 3), 2)
    ((_, said),) = conclusions(comparison, found)
    assert f"Against scratch, no verdict on moco: {words} of moco." in said
    assert leader_sentence(found, 0.1, ["moco"]) == f"No verdict against scratch: {words} of moco."
    assert "clearly" not in said


def test_one_draw_of_few_labels_gets_no_verdict_and_one_of_all_does(tmp_path, patients):
    for arm, skill in {"scratch": 0.0, "moco": 6.0}.items():
        for fraction in (0.1, 1.0):
            for seed in range(3):
                probability = patients.predictions(skill, seed)
                name = f"{arm}-{fraction}-{seed}"
                patients.run(tmp_path / name, arm, fraction, probability, seed=seed, subset_seed=0)
    (family,) = families_of(tmp_path)
    few, whole = (family.contrasts["moco", fraction] for fraction in (0.1, 1.0))
    assert (few.too_few, few.better) == ("one draw of the labels", 0)
    assert (whole.too_few, whole.better, whole.seeds) == ("", 1, (3, 3))


def test_only_draws_of_the_same_labels_are_paired(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    for seed in range(3):
        subset = tmp_path / f"moco-4-{seed}-1/subset.csv"
        subset.write_text(subset.read_text() + "another\n")
    (family,) = families_of(tmp_path)
    assert family.contrasts["moco", 0.1].draws == 1
    for seed in range(3):
        (tmp_path / f"moco-4-{seed}-0/predictions.parquet").unlink()
    (family,) = families_of(tmp_path)
    assert not family.contrasts
    assert f"no paired difference at 10{THIN}%" in family.notes[0].why
    assert "moco against scratch" in family.notes[0].what


def test_other_backbones_are_compared_and_marked(tmp_path, patients):
    seeds(tmp_path, patients, "scratch", 1.0, 0)
    seeds(tmp_path, patients, "moco", 1.0, 1, backbone="resnet50")
    seeds(tmp_path, patients, "moco_bt", 1.0, 2)
    (family, _) = families_of(tmp_path)
    assert set(family.arms) == {"moco (resnet50)", "moco_bt (resnet18)"}
    assert family.other_backbone == {"moco (resnet50)"}
