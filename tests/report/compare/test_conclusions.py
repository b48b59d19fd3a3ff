"""Sentences never claim more than the numbers."""

from pathlib import Path

import pytest

from medstrata.report.compare.conclusions import conclusions
from support.predicted_runs import comparisons_in
from support.report_runs import finetune_run


def write_scores(folder: Path, scores: dict[str, tuple[float, float, float]]) -> Path:
    for arm, (value, low, high) in scores.items():
        score = {"macro_auroc": {"value": value, "low": low, "high": high}}
        test = {"images": 848, "patients": 601, "scores": score}
        for seed in range(3):
            finetune_run(folder / f"{arm}{seed}", arm, 0.01, seed, test=test)
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
    assert "One run only" not in said


def test_lone_arm_is_said(tmp_path):
    score = {"macro_auroc": {"value": 0.9, "low": None, "high": None}}
    test = {"images": 848, "patients": 601, "scores": score}
    for seed in range(3):
        finetune_run(tmp_path / f"a{seed}", "a", 0.1, seed, test=test)
    found = comparisons_in(tmp_path)
    assert "nothing to compare with" in conclusions(found[0])[0][1]


def test_one_run_of_an_arm_allows_no_verdict(tmp_path):
    write_scores(tmp_path, {"a": (0.9, 0.85, 0.95), "b": (0.5, 0.4, 0.6)})
    for seed in (1, 2):
        (tmp_path / f"b{seed}/result.json").unlink()
    found = comparisons_in(tmp_path)
    ((_, said),) = conclusions(found[0])
    assert said.endswith("Fewer than three runs of at least one arm: no verdict. One run only: b.")
    assert "clear" not in said
