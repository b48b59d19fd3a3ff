"""The first paragraph names the comparison it is about and claims no more than the numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from medstrata.metrics.paired_difference import Difference
from medstrata.report.compare.differences import Contrast, ContrastFamily, families
from medstrata.report.read.runs import Collection, collect
from medstrata.report.sections.headline import headline, without_scores
from support.layer_runs import layer_study
from support.predicted_runs import Patients, comparison_in, comparisons_in, seeds
from support.report_runs import STORE, finetune_run, pretrain_run

THIN = "\N{NARROW NO-BREAK SPACE}"


def scored_run(
    folder: Path,
    arm: str,
    fraction: float,
    value: float,
    *,
    seed: int = 0,
    half: float | None = 0.02,
    metric: str = "macro_auroc",
    **changes: object,
) -> None:
    """A run of one seed with this score and an interval of `half` to both sides, or none."""
    low, high = (None, None) if half is None else (value - half, value + half)
    scores = {metric: {"value": value, "low": low, "high": high}}
    test = {"images": 848, "patients": 601, "scores": scores}
    place = folder / f"{arm}-{fraction}-{seed}"
    finetune_run(place, arm, fraction, seed, test=test, metric=metric, **changes)


def said_of(folder: Path) -> str:
    return " ".join(headline(comparisons_in(folder), {})).strip().replace(THIN, " ")


def test_leader_is_named_with_its_score_and_what_it_rests_on(tmp_path: Path) -> None:
    scored_run(tmp_path, "a", 0.01, 0.9)
    scored_run(tmp_path, "b", 0.01, 0.7)
    assert said_of(tmp_path) == (
        "With 1 % of the labels (30 images of 22 patients) and the whole network fine-tuned, a has "
        "the highest macro AUROC of 2 arms: 0.900 (95 % interval over patients 0.880 to 0.920). "
        "Fewer than three runs of at least one arm: no verdict."
    )


def test_labels_to_choose_by_are_counted_and_both_choices_are_shown(tmp_path: Path) -> None:
    for arm, value in (("a", 0.9), ("b", 0.7)):
        for validation, images in (("full", 723), ("same", 7)):
            labels = {"val": {"images": images, "patients": images}}
            changes = {"labels": labels, "validation": validation}
            scored_run(tmp_path / validation, arm, 0.01, value, **changes)
    said = said_of(tmp_path)
    first, second = said.split(" With ")
    assert "(30 images of 22 patients for training, 723 images for choosing)" in first
    assert second.startswith(
        "1 % of the labels (30 images of 22 patients for training, 7 images for choosing) and the "
        "whole network fine-tuned and chosen by the same share of the validation labels, a has"
    )


def test_smallest_fraction_at_which_two_arms_can_be_compared(tmp_path: Path) -> None:
    scored_run(tmp_path, "a", 0.01, 0.9)
    assert said_of(tmp_path).startswith("At no label fraction do two arms have a score")
    for arm in ("a", "b"):
        for fraction in (0.1, 1.0):
            scored_run(tmp_path, arm, fraction, 0.8)
    said = said_of(tmp_path)
    assert said.startswith("With 10 % of the labels")
    assert "a and b have the highest macro AUROC of 2 arms: 0.800" in said


def test_seeds_that_touch_forbid_a_claim(tmp_path: Path) -> None:
    """Intervals of the median runs apart, but one seed of b reaches up to a."""
    for arm, values in {"a": (0.9, 0.9, 0.9), "b": (0.5, 0.5, 0.89)}.items():
        for seed, value in enumerate(values):
            scored_run(tmp_path, arm, 0.01, value, seed=seed)
    said = said_of(tmp_path)
    assert "which arm is best is not settled" in said
    assert "0.900 (the mean of 3 runs; 95 % interval over patients for the median run 0.880" in said


def test_interval_that_is_missing_is_said(tmp_path: Path) -> None:
    scored_run(tmp_path, "a", 0.1, 0.9, half=None)
    scored_run(tmp_path, "b", 0.1, 0.7)
    assert ": 0.900. An interval is missing" in said_of(tmp_path)


def test_lowest_leads_where_less_is_better(tmp_path: Path) -> None:
    scored_run(tmp_path, "a", 0.1, 0.3, metric="ece")
    scored_run(tmp_path, "b", 0.1, 0.1, metric="ece")
    assert "b has the lowest expected calibration error of 2 arms: 0.100" in said_of(tmp_path)


def test_of_several_data_sets_the_one_is_named(tmp_path: Path) -> None:
    for store in ("first.store", "second.store"):
        for arm in ("a", "b"):
            changes = {"store": {**STORE, "name": store}}
            scored_run(tmp_path / store, arm, 0.1, 0.8, **changes)
    assert said_of(tmp_path).startswith("On first.store, subtype: with 10 % of the labels")


def test_pairs_decide_where_there_are_some(tmp_path: Path, patients: Patients) -> None:
    for arm, skill in {"scratch": 1.5, "moco": 1.5, "moco_bt": 6.0, "moco_mse": 0.0}.items():
        seeds(tmp_path, patients, arm, skill, own=len(arm))
    comparison = comparison_in(tmp_path)
    found = families(comparison)
    said = " ".join(headline([comparison], {comparison.name: found}))
    over_scratch = found[0].contrasts["moco_bt", 0.1].difference
    assert said.startswith(
        f"With 10{THIN}% of the labels pre-training wins: moco_bt against scratch "
        f"+{over_scratch.value:.3f} macro AUROC, 95{THIN}% interval {over_scratch.low:.3f} to "
        f"{over_scratch.high:.3f}. With 10{THIN}% of the labels ("
    )
    over = [family.contrasts["moco_bt", 0.1].difference.value for family in found]
    assert said.endswith(
        f"It is clearly better than scratch (+{over[0]:.3f}) and plain MoCo (+{over[1]:.3f}). "
        f"With 10{THIN}% of the labels, arms with an intermediate loss are clearly better than "
        "plain MoCo in 1 of 2 comparisons and clearly worse than plain MoCo in 1 of 2 comparisons."
    )
    other = replace(comparison, place="b", name="b")
    twice = " ".join(headline([comparison, other], {comparison.name: found, "b": found}))
    assert "in 2 of 4 comparisons and" in twice
    assert f"On cxr.store, subtype: with 10{THIN}% of the labels" in twice


def against_moco(
    better: Mapping[tuple[str, float], int], other_backbone: Iterable[str] = (), too_few: str = ""
) -> ContrastFamily:
    """Differences to plain MoCo that come out so."""
    difference = Difference(
        value=0.0, low=-0.1, high=0.1, p_value=0.5, degrees_of_freedom=9, parts=()
    )
    contrasts = {
        cell: Contrast(
            difference=difference,
            adjusted=0.5,
            seeds=(3, 3),
            draws=5,
            too_few=too_few,
            better=one,
        )
        for cell, one in better.items()
    }
    return ContrastFamily(
        baseline="moco",
        name="moco",
        contrasts=contrasts,
        arms=tuple(dict.fromkeys(arm for arm, _ in better)),
        other_backbone=frozenset(other_backbone),
        notes=(),
    )


NOT_CLEAR = "no arm with an intermediate loss is clearly better or worse than plain MoCo"


@pytest.mark.parametrize(
    ("its", "said"),
    [
        (
            [against_moco({("moco_bt", 0.1): 0, ("moco_bt", 1.0): 1})],
            f"With 10 % of the labels, {NOT_CLEAR} (1 comparison).",
        ),
        (
            [against_moco({("moco_bt", 0.1): 1}), against_moco({("moco_mse", 0.01): 1})],
            "At the smallest share of labels of each comparison, arms with an intermediate loss "
            "are clearly better than plain MoCo in 2 of 2 comparisons.",
        ),
        (
            [against_moco({("moco_bt", 0.1): 1}), against_moco({})],
            "With 10 % of the labels, arms with an intermediate loss are clearly better than plain "
            "MoCo in 1 of 1 comparison.",
        ),
        (
            [against_moco({("moco_bt", 0.1): -1, ("moco_mse", 0.1): 1}, ["moco_mse"])],
            "With 10 % of the labels, arms with an intermediate loss are clearly worse than plain "
            "MoCo in 1 of 1 comparison.",
        ),
        ([against_moco({("scratch", 0.1): -1})], ""),
        ([replace(against_moco({("moco_bt", 0.1): 1}), name="scratch")], ""),
        (
            [against_moco({("moco_bt", 0.1): 0}, too_few="one pre-training run of moco_bt")],
            "With 10 % of the labels, no verdict on intermediate losses: one pre-training run of "
            "moco_bt.",
        ),
    ],
    ids=[
        "not clear",
        "two fractions",
        "no pair",
        "another backbone",
        "no intermediate loss",
        "no MoCo",
        "one run",
    ],
)
def test_intermediate_losses_come_after_who_wins(
    tmp_path: Path, its: list[ContrastFamily], said: str
) -> None:
    scored_run(tmp_path, "a", 0.01, 0.9)
    scored_run(tmp_path, "b", 0.01, 0.7)
    paired = {str(number): [family] for number, family in enumerate(its)}
    answer, rest = headline(comparisons_in(tmp_path), paired)
    assert answer.startswith(f"With 1{THIN}% of the labels (")
    assert rest.replace(THIN, " ") == said


@pytest.mark.parametrize(
    ("better", "too_few", "verdict"),
    [
        (1, "", "pre-training wins"),
        (0, "", "pre-training is not clearly apart from training from scratch"),
        (-1, "", "pre-training loses"),
        (0, "one seed of scratch", "no verdict on pre-training (one seed of scratch)"),
    ],
)
def test_whether_pre_training_pays_comes_first_of_all(
    tmp_path: Path, better: int, too_few: str, verdict: str
) -> None:
    """Of the better pre-trained arm; ImageNet and another backbone are not what it is about."""
    for arm, value in (("scratch", 0.6), ("moco", 0.7), ("moco_bt", 0.8), ("other", 0.9)):
        scored_run(tmp_path, arm, 0.01, value)
    cells = {(arm, 0.01): better for arm in ("moco", "moco_bt", "other")}
    family = replace(
        against_moco(cells, ["other"], too_few=too_few), name="scratch", baseline="scratch"
    )
    comparisons = comparisons_in(tmp_path)
    said = " ".join(headline(comparisons, {comparisons[0].name: [family]})).replace(THIN, " ")
    assert said.startswith(
        f"With 1 % of the labels {verdict}: moco_bt against scratch 0.000 macro AUROC, "
        "95 % interval −0.100 to 0.100. With 1 % of the labels ("
    )


def test_a_frozen_random_encoder_is_no_training_from_scratch(tmp_path: Path) -> None:
    for arm, value in (("scratch", 0.6), ("moco", 0.7)):
        scored_run(tmp_path, arm, 0.01, value, protocol="frozen")
    family = replace(against_moco({("moco", 0.01): 1}), name="scratch", baseline="scratch")
    comparisons = comparisons_in(tmp_path)
    assert not any(
        "pre-training" in one for one in headline(comparisons, {comparisons[0].name: [family]})
    )


def test_without_scores_the_reader_is_told_what_there_is(tmp_path: Path) -> None:
    assert without_scores(Collection(runs=(), notes=())).startswith("No run is finished")
    layer_study(tmp_path / "layers", arms=("moco",))
    assert "looks into the layers" in without_scores(collect([tmp_path / "layers"]))
    pretrain_run(tmp_path / "pre", "moco", epochs=2)
    assert "shows pre-training only" in without_scores(collect([tmp_path]))
