"""Scores and differences as data frames, on runs whose truth is known."""

from pathlib import Path

import pandas as pd
import pytest

from medstrata.report.compare.comparison import Comparison
from medstrata.report.compare.differences import families
from medstrata.report.compare.frames import difference_frame, read_comparisons, score_frame
from support.predicted_runs import Patients, predicted_study, write_predictions

SKILLS = {"scratch": 0.4, "moco": 0.5, "moco_mse": 3.0, "twin": 0.4}


@pytest.fixture(scope="module")
def patients() -> Patients:
    return Patients()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, patients: Patients) -> Path:
    """Arm `moco_mse` is far better than the rest; `twin` predicts just what `scratch` does."""
    folder = predicted_study(tmp_path_factory.mktemp("runs"), patients, SKILLS)
    for run in folder.glob("full/scratch-*"):
        twin = run.with_name(run.name.replace("scratch", "twin"))
        write_predictions(twin, pd.read_parquet(run / "predictions.parquet"))
        text = (run / "result.json").read_text()
        for words in ('"arm": "scratch"', '"encoder": "scratch"'):
            text = text.replace(words, words.replace("scratch", "twin"))
        (twin / "result.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def comparison(study: Path) -> Comparison:
    (one,) = read_comparisons([study])
    return one


def test_equal_predictions_differ_by_nothing(comparison: Comparison) -> None:
    frame = difference_frame([comparison])
    twins = frame[(frame["arm"] == "twin") & (frame["baseline"] == "scratch")]
    assert len(twins) == 3
    assert (twins[["difference", "low", "high"]] == 0).all(axis=None)
    assert (twins[["p", "p_adjusted"]] == 1).all(axis=None)


def test_an_arm_that_is_better_by_construction_is_found(comparison: Comparison) -> None:
    for family in families(comparison):
        found = {cell: contrast.better for cell, contrast in family.contrasts.items()}
        assert all(found["moco_mse", fraction] == 1 for fraction in (0.1, 1.0))
        assert all(
            contrast.adjusted >= contrast.difference.p_value
            for contrast in family.contrasts.values()
        )


def test_a_difference_is_that_of_the_scores(comparison: Comparison) -> None:
    scores = (
        score_frame([comparison]).query("metric == 'macro_auroc'").set_index(["arm", "fraction"])
    )
    for row in difference_frame([comparison]).itertuples():
        apart = (
            scores.loc[(row.arm, row.fraction), "value"]
            - scores.loc[(row.baseline, row.fraction), "value"]
        )
        assert row.difference == pytest.approx(apart, abs=1e-12)
        assert (row.seeds, row.baseline_seeds, row.draws) == (3, 3, 3)
        assert row.too_few == ""
        assert row.df >= 1


def test_scores_are_means_with_an_interval_of_the_mean(comparison: Comparison) -> None:
    frame = score_frame([comparison])
    assert (frame["low"] <= frame["high"]).all()
    assert (frame["runs"] == 3).all()
