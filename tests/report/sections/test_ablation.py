"""Ablation, legacy figures, what is missing, and every section in the page."""

from pathlib import Path

import pytest
import yaml

from medstrata.report.compare.gaps import prediction_gaps
from medstrata.report.page import write_report
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.read.runs import collect
from medstrata.report.sections.ablation import ablation_section, source
from medstrata.report.sections.legacy import legacy_section
from support.predicted_runs import (
    TASKS,
    Patients,
    change_result,
    comparison_in,
    comparisons_in,
    seeds,
)
from support.report_page import HOSTILE, Page
from support.report_runs import STORE, pretrain_run

THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def patients():
    return Patients(patients=60)


# Ablation


def encoder(folder: Path, arm: str, **intermediate) -> Path:
    run = pretrain_run(folder / arm, arm, epochs=1)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"intermediate": intermediate}))
    return run


def tuned(folder: Path, patients: Patients, arm: str, encoder_folder: str) -> None:
    for seed in (0, 1):
        run = folder / f"{arm}{seed}"
        patients.run(run, arm, 0.1, patients.predictions(1.0, seed), seed=seed)
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config | {"encoder": encoder_folder}))


def test_ablation_holds_runs_that_differ_in_the_intermediate_loss_alone(tmp_path, patients):
    stages = {"stage1": 0.25, "stage2": 0.25, "stage3": 0.0}
    encoder(tmp_path / "pre", "moco", loss="none", weights=stages)
    encoder(tmp_path / "pre", "moco_mse", loss="mse", weights=stages, grids={"stage1": 1})
    late = encoder(tmp_path / "pre", "late", loss="mse", weights={"stage4": 2}, grids={"stage1": 4})
    other = encoder(tmp_path / "pre", "other", loss="mse", weights={"stage4": 1})
    (other / "config.yaml").write_text((other / "config.yaml").read_text() + "epochs: 7\n")
    lost = encoder(tmp_path / "pre", "lost")
    for arm in ("moco", "moco_mse", "late", "other", "lost"):
        tuned(tmp_path / "fine", patients, arm, f"/moved/pre/{arm}")
    collection = collect([tmp_path])
    section, notes = ablation_section(collection.of(Pretrain), comparisons_in(tmp_path))
    assert [note.what for note in notes] == [f"{tmp_path.name}/pre/{lost.name}"]
    _, _, table = section.parts
    rows = {row[0].text: [entry.text for entry in row[1:4]] for row in table.rows}
    assert rows == {
        "moco": ["none, plain MoCo", "–", "–"],
        "moco_mse": ["mean squared error", "1, 2", "0.25 each"],
        "late": ["mean squared error", "4", "2"],
    }
    notes_of = {row[0].text: row[1].notes for row in table.rows}
    assert notes_of["late"] == ('grids {"stage1": 4}',)
    summary = comparison_in(tmp_path).column(0.1, "macro_auroc")["late"]
    (cell,) = next(row[4:] for row in table.rows if row[0].text == late.name)
    assert (cell.number, cell.interval) == (summary.value, summary.interval)


def test_encoder_is_found_by_folder_then_by_arm(tmp_path, patients):
    for store in ("a", "b"):
        pretrain_run(tmp_path / store / "moco", "moco", epochs=1)
    tuned(tmp_path / "fine", patients, "moco", "runs/b/moco")
    collection = collect([tmp_path])
    found = source(collection.of(Finetune)[0], collection.of(Pretrain))
    assert found is not None
    assert found.files.name.endswith("b/moco")
    # Two of the same arm, and no folder to tell them apart.
    tuned(tmp_path / "again", patients, "moco", "elsewhere")
    (again,) = collect([tmp_path / "again"]).of(Finetune)[:1]
    assert source(again, collection.of(Pretrain)) is None
    (first, _) = collection.of(Pretrain)
    assert source(again, [first]) == first


# Legacy figures


def test_legacy_figures_stand_beside_the_right_ones(tmp_path, patients):
    seeds(tmp_path, patients, "moco", 1.0, 0)
    assert legacy_section([comparison_in(tmp_path)]) is None
    for seed in (0, 1):
        interval = {"macro_auroc": {"value": 0.5, "low": 0.4 + seed, "high": 0.6 + seed}}
        legacy = {"last_epoch": {"macro_auroc": 0.5 + seed}, "interval": interval}
        change_result(tmp_path / f"moco-0-{seed}", legacy=legacy)
    comparison = comparison_in(tmp_path)
    section = legacy_section([comparison])
    assert "not to be used" in section.title
    (row,) = section.parts[2].rows
    assert row[2].number == comparison.column(0.1, "macro_auroc")["moco"].value
    assert row[3].number == pytest.approx(1.0)
    assert row[4].interval == pytest.approx((0.9, 1.1))


# The page


def test_every_section_is_in_the_page_and_data_is_escaped(tmp_path):
    arms = {"scratch": 1.0, "moco": 1.0, "moco_bt": 2.0, HOSTILE: 1.0}
    task = {**TASKS["multiclass"], "name": HOSTILE, "classes": [HOSTILE, "b", "c"]}
    for i, name in enumerate(("cxr.store", HOSTILE)):
        made = Patients(task, patients=20, seed=i)
        store = {**STORE, "name": name}
        for k, (arm, skill) in enumerate(arms.items()):
            for fraction in (0.1, 1.0):
                probability = made.predictions(skill * (1 + fraction), k)
                run = tmp_path / f"{i}-{k}-{fraction}"
                made.run(run, arm, fraction, probability, store=store)
                change_result(run, legacy={"interval": {"macro_f1": {"low": 0.1, "high": 0.2}}})
    weights = {"stage1": 1}
    encoder(tmp_path / "pre", "moco", loss="none", weights=weights)
    encoder(tmp_path / "pre", "moco_bt", loss=HOSTILE, weights=weights)
    (tmp_path / "0-3-1.0/predictions.parquet").unlink()
    page = Page(write_report([tmp_path], tmp_path / "out/r.html", files=False))
    for heading in (
        "Paired differences to the baselines",
        "Mean gain over data sets",
        "Label efficiency",
        "Few labels against all: how far the probabilities move",
        "Calibration",
        "Which stages, which weights",
        "As the paper's code computes it: not to be used",
        "Against scratch",
        "Reliability",
    ):
        assert heading in page.text, heading
    assert "no predictions.parquet: left out of what rests on predictions" in page.text
    # Its store is not the one of the encoders, nor does it name a folder.
    assert "which pre-training run its encoder came from is not plain" in page.text
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 20
    drawn = [data for tag, data in page.texts if tag == "text"]
    assert drawn
    assert not any(HOSTILE in data for data in drawn)


# What is missing


def test_what_cannot_be_computed_is_said(tmp_path, patients):
    for arm in ("a", "b"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    why = [note.why for note in prediction_gaps(comparison_in(tmp_path))]
    assert any("no arm named scratch or imagenet or moco" in one for one in why)
    assert any("neither label efficiency nor the shift" in one for one in why)
    patients.run(tmp_path / "full", "a", 1.0, patients.predictions(1.0))
    told_of = {note.what[-3:]: note.why for note in prediction_gaps(comparison_in(tmp_path))}
    assert "its shift is not known" in told_of[": b"]
    assert "the floor of the shift is not known" in told_of[": a"]
