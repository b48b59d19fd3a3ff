"""What the report computes from predictions, on runs whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.distribution import ks_distance
from medstrata.report.compare import Bench, Comparison
from medstrata.report.differences import families
from medstrata.report.frames import difference_frame, read_benches, score_frame
from medstrata.report.page import write_report
from medstrata.report.shift import shifts
from predicted_runs import Patients, predicted_study, write_predictions

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
def bench(study: Path) -> Bench:
    (one,) = read_benches([study])
    return one


def only(bench: Bench) -> Comparison:
    (one,) = bench.comparisons
    return one


def test_equal_predictions_differ_by_nothing(bench: Bench) -> None:
    frame = difference_frame([bench])
    twins = frame[(frame["arm"] == "twin") & (frame["baseline"] == "scratch")]
    assert len(twins) == 3
    assert (twins[["difference", "low", "high"]] == 0).all(axis=None)
    assert (twins[["p", "p_adjusted"]] == 1).all(axis=None)


def test_an_arm_that_is_better_by_construction_is_found(bench: Bench) -> None:
    for family in families(bench, only(bench)):
        found = {cell: contrast.better for cell, contrast in family.contrasts.items()}
        assert all(found["moco_mse", fraction] == 1 for fraction in (0.1, 1.0))
        assert all(
            contrast.adjusted >= contrast.difference.p_value
            for contrast in family.contrasts.values()
        )


def test_a_difference_is_that_of_the_scores(bench: Bench) -> None:
    scores = score_frame([bench]).query("metric == 'macro_auroc'").set_index(["arm", "fraction"])
    for row in difference_frame([bench]).itertuples():
        apart = (
            scores.loc[(row.arm, row.fraction), "value"]
            - scores.loc[(row.baseline, row.fraction), "value"]
        )
        assert row.difference == pytest.approx(apart, abs=1e-12)
        assert row.seeds == 3


def test_rows_in_another_order_change_nothing(tmp_path: Path, patients: Patients) -> None:
    shuffled = predicted_study(tmp_path, patients, {"scratch": 0.4, "moco": 0.5})
    before = difference_frame(read_benches([shuffled]))
    for run in shuffled.glob("full/moco-*"):
        frame = pd.read_parquet(run / "predictions.parquet")
        write_predictions(run, frame.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(difference_frame(read_benches([shuffled])), before)


def test_predictions_of_other_images_are_left_out_and_named(
    tmp_path: Path, patients: Patients
) -> None:
    folder = predicted_study(tmp_path, patients, {"scratch": 0.4, "moco": 0.5}, fractions=[1.0])
    run = next(iter(sorted(folder.glob("full/moco-*"))))
    frame = pd.read_parquet(run / "predictions.parquet")
    write_predictions(run, frame.assign(sample_id=frame["sample_id"] + "x"))
    (other, *_) = [path for path in sorted(folder.glob("full/moco-*")) if path != run]
    (other / "predictions.parquet").write_bytes(b"PAR1 cut")
    frame = difference_frame(read_benches([folder]))
    assert frame["seeds"].tolist() == [1]
    page = write_report([folder], tmp_path / "report.html", files=False).read_text()
    assert run.name in page.partition('id="missing"')[2]
    assert other.name in page.partition('id="missing"')[2]


def test_the_shift_is_the_ks_distance_and_has_its_floor(bench: Bench, study: Path) -> None:
    found = shifts(only(bench), "moco")

    def test_rows(name: str) -> np.ndarray:
        frame = pd.read_parquet(study / "full" / name / "predictions.parquet")
        column = next(one for one in frame.columns if one.startswith("probability."))
        return frame.loc[frame["split"] == "test", column].to_numpy()

    by_hand = [
        ks_distance(test_rows(f"moco-0.01-seed{seed}"), test_rows(f"moco-1-seed{seed}"))
        for seed in range(3)
    ]
    assert found[0.01].mean.value == pytest.approx(np.mean(by_hand), abs=1e-12)
    pairs = [(0, 1), (0, 2), (1, 2)]
    floor = [
        ks_distance(test_rows(f"moco-1-seed{a}"), test_rows(f"moco-1-seed{b}")) for a, b in pairs
    ]
    assert found[1.0].mean.value == pytest.approx(np.mean(floor), abs=1e-12)


def test_the_page_has_every_section_and_escapes_what_it_shows(
    tmp_path: Path, patients: Patients
) -> None:
    hostile = "<script>alert(1)</script>"
    folder = predicted_study(
        tmp_path, patients, {"scratch": 0.4, "moco": 0.5, hostile.replace("/", "\\"): 1.0}
    )
    page = write_report([folder], tmp_path / "report.html", files=False).read_text()
    for anchor in ("differences", "efficiency", "shift", "calibration"):
        assert f'id="{anchor}"' in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_headline_asks_whether_intermediate_losses_help(study: Path, tmp_path: Path) -> None:
    page = write_report([study], tmp_path / "report.html", files=False).read_text()
    verdict = page.partition('class="verdict">')[2].partition("</p>")[0]
    assert "moco_mse" in verdict
    assert "moco" in verdict


def test_scores_are_means_with_an_interval_of_the_mean(bench: Bench) -> None:
    frame = score_frame([bench])
    assert (frame["low"] <= frame["high"]).all()
    assert (frame["seeds"] == 3).all()
