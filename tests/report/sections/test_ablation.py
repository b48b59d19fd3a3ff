"""Encoders that differ in the intermediate loss alone."""

from pathlib import Path

import yaml

from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.read.runs import collect
from medstrata.report.sections.ablation import ablation_section, source
from support.predicted_runs import (
    Patients,
    comparison_in,
    comparisons_in,
)
from support.report_runs import pretrain_run


def encoder(folder: Path, arm: str, **intermediate) -> Path:
    run = pretrain_run(folder / arm, arm, epochs=1)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"intermediate": intermediate}))
    return run


def tuned(folder: Path, patients: Patients, arm: str, encoder_folder: str) -> None:
    for seed in (0, 1):
        probability = patients.predictions(1.0, seed)
        patients.run(
            folder / f"{arm}{seed}", arm, 0.1, probability, seed=seed, encoder=encoder_folder
        )


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
    section = ablation_section(collection.of(Pretrain), comparisons_in(tmp_path))
    assert [note.what for note in section.notes] == [f"{tmp_path.name}/pre/{lost.name}"]
    _, table = section.parts
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
