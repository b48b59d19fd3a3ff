"""Predictions of runs, aligned by image, and the scores that rest on them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.report.read.predictions import Predictions, read_predictions
from medstrata.report.read.results import TUNED, Finetune
from medstrata.report.read.runs import collect
from support.arms import mean_interval
from support.predicted_runs import TASKS, Patients, change_result, comparison_in, write_predictions


def three_runs(folder: Path, patients: Patients) -> list[Path]:
    return [
        patients.run(folder / f"run{seed}", "moco", 0.1, patients.predictions(1.0, seed), seed=seed)
        for seed in range(3)
    ]


def read_all(folder: Path) -> tuple[Predictions, tuple]:
    runs = collect([folder]).of(Finetune)
    return read_predictions(runs)[TUNED], runs


def change_frame(run: Path, change) -> None:
    write_predictions(run, change(pd.read_parquet(run / "predictions.parquet")))


@pytest.mark.parametrize("kind", TASKS)
def test_rows_are_aligned_by_image_whatever_their_order(tmp_path, kind):
    patients = Patients(TASKS[kind], patients=30)
    folders = three_runs(tmp_path, patients)
    before, runs = read_all(tmp_path)
    change_frame(folders[1], lambda frame: frame.sample(frac=1, random_state=0))
    after, _ = read_all(tmp_path)
    assert after.notes == before.notes == ()
    # The validation row is not among them.
    assert after.target.shape == patients.target.shape
    np.testing.assert_array_equal(after.target, patients.target)
    assert len(np.unique(after.patient_ids)) == 30
    for seed, (ours, again) in enumerate(zip(before.of(runs), after.of(runs), strict=True)):
        np.testing.assert_array_equal(ours, again)
        np.testing.assert_allclose(ours, patients.predictions(1.0, seed))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda frame: frame.iloc[:-1], "another number of test images"),
        (lambda frame: frame.drop(columns="patient_id"), "cannot be read"),
        (lambda frame: frame.assign(**{"probability.virus": 0.5}), "its predictions give"),
        (lambda frame: frame.assign(**{"probability.virus": np.nan}), "cannot be scored"),
        (lambda frame: frame.assign(sample_id="one"), "an image is named twice"),
        (lambda frame: frame.assign(sample_id=frame["sample_id"] + "x"), "other test images"),
        (lambda frame: frame.assign(patient_id=frame["patient_id"] + "x"), "other test images"),
    ],
)
def test_run_whose_predictions_do_not_fit_is_left_out_and_named(tmp_path, change, why):
    folders = three_runs(tmp_path, Patients(patients=30))
    change_frame(folders[1], change)
    predictions, runs = read_all(tmp_path)
    assert predictions.covered(runs) == [runs[0], runs[2]]
    (note,) = predictions.notes
    assert note.what.endswith("/run1")
    assert why in note.why
    assert "\n" not in note.why


def test_other_truth_is_not_compared(tmp_path):
    """The run of which a target differs scores as it says, and is left out all the same."""
    folders = three_runs(tmp_path, Patients(patients=30))
    other = Patients(patients=30, seed=1)
    for file in folders[1].iterdir():
        file.unlink()
    folders[1].rmdir()
    other.run(folders[1], "moco", 0.1, other.predictions(1.0), seed=1)
    predictions, runs = read_all(tmp_path)
    assert predictions.covered(runs) == [runs[0], runs[2]]
    assert "labels than most" in predictions.notes[0].why


def test_missing_and_broken_files_are_named_together(tmp_path):
    patients = Patients(patients=30)
    folders = three_runs(tmp_path, patients)
    for i in range(3, 9):
        patients.run(tmp_path / f"run{i}", "moco", 0.1, patients.predictions(1.0, i), seed=i)
        (tmp_path / f"run{i}/predictions.parquet").unlink()
    (folders[0] / "predictions.parquet").write_bytes(b"PAR1")
    predictions, runs = read_all(tmp_path)
    assert predictions.covered(runs) == [runs[1], runs[2]]
    broken, missing = predictions.notes
    assert "cannot be read" in broken.why
    assert "no predictions.parquet" in missing.why
    assert missing.what.endswith("run5 and 3 other runs")


def test_unknown_kind_of_task_has_no_predictions(tmp_path):
    (run, *_) = three_runs(tmp_path, Patients(patients=30))
    change_result(run, task={"name": "a", "kind": "survival", "classes": ["a", "b"]})
    predictions = read_predictions(collect([run]).of(Finetune))[TUNED]
    assert predictions.probability == {}
    assert not predictions.knows("macro_auroc")
    assert "kind survival" in predictions.notes[0].why


def test_summary_has_the_interval_of_the_mean(tmp_path):
    patients = Patients(patients=30)
    folders = three_runs(tmp_path, patients)
    comparison = comparison_in(tmp_path)
    for metric in ("macro_auroc", "brier"):
        summary = comparison.column(0.1, metric)["moco"]
        expected = mean_interval(
            metric,
            patients.target,
            [patients.predictions(1.0, seed) for seed in range(3)],
            "binary",
            np.array(patients.patient_ids),
        )
        assert summary.of_mean
        assert (summary.value, *summary.interval) == pytest.approx(expected)
        assert summary.spread == pytest.approx(np.std(summary.runs, ddof=1))
    (folders[0] / "predictions.parquet").unlink()
    summary = comparison_in(tmp_path).column(0.1, "macro_auroc")["moco"]
    assert not summary.of_mean
    assert summary.interval == (0.0, 1.0)
