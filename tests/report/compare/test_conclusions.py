"""Sentences never claim more than the numbers."""

from pathlib import Path

import pytest

from medstrata.report.compare.conclusions import conclusions
from medstrata.report.sections.headline import headline
from support.predicted_runs import comparisons_in
from support.report_runs import finetune_run


def write_scores(folder: Path, scores: dict[str, tuple[float, float, float]]) -> Path:
    for arm, (value, low, high) in scores.items():
        score = {"macro_auroc": {"value": value, "low": low, "high": high}}
        test = {"images": 848, "patients": 601, "scores": score}
        finetune_run(folder / arm, arm, 0.01, test=test)
    return folder


@pytest.mark.parametrize(
    ("scores", "sentences"),
    [
        (
            {"a": (0.9, 0.85, 0.95), "b": (0.7, 0.6, 0.8), "c": (0.5, 0.4, 0.6)},
            "The interval of a lies clear of those of both other arms.",
        ),
        (
            {"a": (0.9, 0.75, 0.95), "b": (0.7, 0.6, 0.8), "c": (0.5, 0.4, 0.6)},
            "The interval of a overlaps that of b, so the order among these is not settled; it "
            "lies clear of that of c.",
        ),
        (
            {"a": (0.9, 0.75, 0.95), "b": (0.7, 0.6, 0.75)},
            "The interval of a overlaps that of b, so which arm is best is not settled.",
        ),
    ],
)
def test_findings_claim_no_more_than_the_intervals(tmp_path, scores, sentences):
    found = comparisons_in(write_scores(tmp_path, scores))
    ((_, said),) = conclusions(found[0])
    assert sentences in said
    assert "One seed only: every arm." in said
    text = headline(found, {}).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert text.startswith(
        "With 1 % of the labels (30 images of 22 patients) and the whole network fine-tuned, a "
        f"has the highest macro AUROC of {len(scores)} arms: 0.900 (95 % interval over patients "
    )
    assert text.endswith(sentences)


def test_seeds_that_touch_forbid_a_claim(tmp_path):
    """Intervals of the median runs apart, but one seed of b reaches up to a."""
    rows = {"a": [0.9, 0.9, 0.9], "b": [0.5, 0.5, 0.89]}
    for arm, values in rows.items():
        for seed, value in enumerate(values):
            score = {"macro_auroc": {"value": value, "low": value - 0.02, "high": value + 0.02}}
            test = {"images": 848, "patients": 601, "scores": score}
            finetune_run(tmp_path / f"{arm}{seed}", arm, 0.01, seed, test=test)
    found = comparisons_in(tmp_path)
    assert "which arm is best is not settled" in headline(found, {})
    assert "the mean of 3 seeds" in headline(found, {})


def test_missing_interval_and_lone_arm_are_said(tmp_path):
    score = {"macro_auroc": {"value": 0.9, "low": None, "high": None}}
    test = {"images": 848, "patients": 601, "scores": score}
    finetune_run(tmp_path / "a", "a", 0.1, test=test)
    found = comparisons_in(tmp_path)
    assert headline(found, {}).startswith("At no label fraction do two arms have a score")
    assert "nothing to compare with" in conclusions(found[0])[0][1]
    finetune_run(tmp_path / "b", "b", 0.1)
    found = comparisons_in(tmp_path)
    assert "An interval is missing" in headline(found, {})
