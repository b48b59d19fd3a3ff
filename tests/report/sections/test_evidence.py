"""What rests on predictions: made-up runs whose truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medstrata.metrics.intervals import score
from medstrata.metrics.ks import KsDistances, KsInterval, ks_distance
from medstrata.metrics.label_efficiency import Efficiency
from medstrata.report.compare.conclusions import conclusions, headline
from medstrata.report.compare.differences import Family, families
from medstrata.report.sections.calibration import reliability
from medstrata.report.sections.efficiency import efficiency_section, share_cell
from medstrata.report.sections.gain import gain, gains_section
from medstrata.report.sections.shift import average, shifts
from support.predicted_runs import TASKS, Patients, comparison_in, comparisons_in, seeds
from support.report_runs import STORE

THIN = "\N{NARROW NO-BREAK SPACE}"


def families_of(folder: Path) -> tuple[Family, ...]:
    return families(comparison_in(folder))


def entries(table) -> dict[str, list]:
    return {row[0].text: list(row[1:]) for row in table.rows}


@pytest.fixture(scope="module")
def patients():
    return Patients(patients=60)


# Differences


def test_identical_arms_do_not_differ(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    (family,) = families_of(tmp_path)
    contrast = family.contrasts["moco", 0.1]
    assert (contrast.difference.value, contrast.difference.p_value, contrast.adjusted) == (0, 1, 1)
    assert (contrast.difference.per_seed, contrast.better) == ((0.0, 0.0), 0)


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
    sentences = headline([comparison], {comparison.name: found})
    assert sentences.startswith(
        f"With 10{THIN}% of the labels, arms with an intermediate loss are clearly better than "
        "plain MoCo in 1 of 2 comparisons and clearly worse than plain MoCo in 1 of 2 comparisons. "
        f"With 10{THIN}% of the labels"
    )
    over = found[0].contrasts["moco_bt", 0.1].difference.value
    assert sentences.endswith(
        f"It is clearly better than scratch (+{over:.3f}) and plain MoCo (+{expected:.3f})."
    )
    other = replace(comparison, place="b", name="b")
    twice = headline([comparison, other], {comparison.name: found, "b": found})
    assert "in 2 of 4 comparisons and" in twice
    assert f"On cxr.store, subtype: with 10{THIN}% of the labels" in twice


def test_nothing_is_claimed_of_arms_that_differ_by_chance(tmp_path, patients):
    for arm in ("moco", "moco_bt"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    found = families_of(tmp_path)
    assert found[0].contrasts["moco_bt", 0.1].better == 0
    comparison = comparison_in(tmp_path)
    sentences = headline([comparison], {comparison.name: found})
    assert (
        "no arm with an intermediate loss is clearly better or worse than plain MoCo" in sentences
    )
    ((_, said),) = conclusions(comparison, found)
    assert said.endswith("Against plain MoCo, moco_bt is not clearly apart.")


def test_only_seeds_with_the_same_labels_are_paired(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    subset = tmp_path / "moco-4-1/subset.csv"
    subset.write_text(subset.read_text() + "another\n")
    (family,) = families_of(tmp_path)
    assert family.contrasts["moco", 0.1].seeds == (0,)
    (tmp_path / "moco-4-0/predictions.parquet").unlink()
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


# Mean gain


def test_gain_is_the_mean_of_the_sets(tmp_path):
    skills = {"scratch": 0.5, "moco": 2.0}
    for i, name in enumerate(("a", "b")):
        made = Patients(patients=40 + i, seed=i)
        for arm, skill in skills.items():
            store = {**STORE, "name": name}
            seeds(tmp_path / name, made, arm, skill, own=len(arm), store=store)
    seeds(tmp_path / "b", Patients(patients=41, seed=1), "imagenet", 1.0, 9, store=store)
    found = comparisons_in(tmp_path)
    expected = []
    for comparison in found:
        column = comparison.column(0.1, "macro_auroc")
        expected.append(column["moco"].value - column["scratch"].value)
    mean = gain(dict(enumerate(found)), "moco", "scratch", 0.1)
    assert mean is not None
    assert mean.value == pytest.approx(np.mean(expected))
    assert dict(mean.parts) == pytest.approx(dict(enumerate(expected)))
    assert mean.interval[0] < mean.value < mean.interval[1]
    alone = [gain({i: one}, "moco", "scratch", 0.1).interval for i, one in enumerate(found)]
    # Sets drawn apart: the interval of their mean is narrower than the mean of theirs.
    assert mean.interval[1] - mean.interval[0] < 0.9 * np.mean([b - a for a, b in alone])
    # The same set twice is drawn apart too: else the interval would be that of one.
    twice = gain(dict.fromkeys((0, 1), found[0]), "moco", "scratch", 0.1).interval
    assert (twice[1] - twice[0]) / (alone[0][1] - alone[0][0]) == pytest.approx(0.71, abs=0.1)
    table = gains_section(found).parts[2]
    shown = entries(table)
    places = [one.store.name for one in found]
    assert shown["imagenet"][0].notes[0].split(", ")[places.index("a")] == "–"
    assert gains_section(found[:1]) is None


# Label efficiency


def test_efficiency_in_words():
    reached = Efficiency(fraction=0.0312, low=0.01, high=None, reached=0.9)
    entry = share_cell(reached, smallest=0.01)
    assert entry.text == f"3.1{THIN}%"
    assert entry.number == 0.0312
    assert entry.notes == (
        f"95{THIN}%: ≤ 1{THIN}% to beyond all",
        f"reached in 90{THIN}% of resamples",
    )
    never = share_cell(Efficiency(fraction=None, low=None, high=None, reached=0.0), smallest=0.01)
    assert (never.text, never.number) == ("not reached", None)


def test_efficiency_finds_the_share_that_suffices(tmp_path, patients):
    for arm, skills in {"scratch": (0.0, 2.0), "moco": (2.0, 3.0), "moco_bt": (0, 0.1)}.items():
        for fraction, skill in zip((0.1, 1.0), skills, strict=True):
            probability = patients.predictions(skill, 3)
            patients.run(tmp_path / f"{arm}-{fraction}", arm, fraction, probability)
    section = efficiency_section([comparison_in(tmp_path)])
    shown = entries(section.parts[2])
    # At 10 % its predictions are those of scratch with all labels.
    assert shown["moco"][0].text == f"≤ 10{THIN}%"
    assert shown["moco_bt"][0].text == "not reached"
    assert shown["scratch"][0].text == "the reference"


# Shift


def test_shift_is_zero_between_equal_models_and_its_floor_too(tmp_path, patients):
    probability = patients.predictions(1.0)
    for seed in (0, 1, 2):
        for fraction in (0.1, 1.0):
            moved = probability**3 if fraction < 1 else probability
            third = probability**3 if seed == 2 else probability
            made = {"moco": probability, "scratch": moved, "imagenet": third}
            for arm, values in made.items():
                name = f"{arm}-{fraction}-{seed}"
                patients.run(tmp_path / name, arm, fraction, values, seed=seed)
    comparison = comparison_in(tmp_path)
    same, moved = shifts(comparison, "moco"), shifts(comparison, "scratch")
    assert same[0.1].mean.value == same[1.0].mean.value == moved[1.0].mean.value == 0
    distance = ks_distance(probability[:, 0] ** 3, probability[:, 0])
    assert moved[0.1].mean.value == pytest.approx(distance)
    assert moved[0.1].mean.low < distance < moved[0.1].mean.high
    # One seed of three differs from the other two.
    assert shifts(comparison, "imagenet")[1.0].mean.value == pytest.approx(2 / 3 * distance)
    # Three seeds, three pairs of two.
    assert (moved[0.1].pairs, moved[1.0].pairs) == (3, 3)


def test_average_of_distances_by_hand():
    def distances(*values: float) -> KsDistances:
        each = tuple(KsInterval(value=one, low=one - 0.1, high=one + 0.2) for one in values)
        return KsDistances(per_class=each, mean=each[0])

    shift = average([distances(0.2, 0.4), distances(0.4, 0.8)])
    assert [one.value for one in shift.per_class] == pytest.approx([0.3, 0.6])
    assert (shift.mean.low, shift.mean.high) == pytest.approx((0.2, 0.5))


# Calibration


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_bins_are_those_of_the_calibration_error(kind):
    made = Patients(TASKS[kind], patients=60)
    probability = made.predictions(1.0)
    found = reliability(made.target, [probability], kind)
    error = (found.counts * abs(found.probability - found.frequency)).sum() / found.counts.sum()
    assert error == pytest.approx(score("ece", made.target, probability, kind))
    assert found.counts.sum() == made.images


def test_a_probability_at_an_edge_belongs_below():
    assert reliability(np.array([1]), [np.array([[0.2]])], "binary").bins.tolist() == [2]


def test_bins_by_hand():
    """Two seeds together; an unknown label is left out."""
    target = np.array([[1.0, np.nan], [0.0, 1.0]])
    first = np.array([[0.95, 0.5], [0.97, 0.01]])
    found = reliability(target, [first, first], "multilabel")
    assert found.bins.tolist() == [0, 14]
    assert found.counts.tolist() == [2, 4]
    assert found.probability == pytest.approx([0.01, 0.96])
    assert found.frequency == pytest.approx([1.0, 0.5])
