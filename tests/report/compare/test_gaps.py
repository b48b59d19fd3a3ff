"""What is missing is named."""

from pathlib import Path

from medstrata.report.compare.differences import paired_differences
from medstrata.report.compare.gaps import prediction_gaps, score_gaps
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Pretrain
from medstrata.report.read.runs import collect
from support.layer_runs import probe_run, reuse_run
from support.predicted_runs import (
    comparisons_in,
    seeds,
)
from support.report_page import write
from support.report_runs import STORE, TASK, finetune_run, pretrain_run


def gaps_in(folder: Path) -> list[ReportNote]:
    return list(score_gaps(collect([folder]).of(Pretrain), comparisons_in(folder)))


def prediction_gaps_in(folder: Path) -> list[ReportNote]:
    found = comparisons_in(folder)
    return list(prediction_gaps(found, paired_differences(found)))


def test_only_like_is_compared(tmp_path):
    finetune_run(tmp_path / "a", "a", 0.1)
    finetune_run(tmp_path / "b", "b", 0.1, task={**TASK, "name": "other"})
    finetune_run(tmp_path / "c", "c", 0.1, store_digest="0f")
    assert sorted(one.arms for one in comparisons_in(tmp_path)) == [("a",), ("b",), ("c",)]
    notes = [(one.what, one.why) for one in gaps_in(tmp_path)]
    assert any(w == "other on cxr.store: a and c" and "another task" in why for w, why in notes)


def test_unlike_subsets_are_a_caution(tmp_path):
    finetune_run(tmp_path / "a", "a", 0.1)
    run = finetune_run(tmp_path / "b", "b", 0.1)
    assert gaps_in(tmp_path) == []
    lines = (run / "subset.csv").read_text().split()
    (run / "subset.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert gaps_in(tmp_path) == []
    (run / "subset.csv").write_text("\n".join([*lines[:-1], "another"]))
    (note,) = gaps_in(tmp_path)
    assert "different labelled images" in note.why


def test_pretrained_arm_without_scores_is_named(tmp_path):
    pretrain_run(tmp_path / "pre", "moco", epochs=1)
    finetune_run(tmp_path / "a", "scratch", 0.1)
    notes = gaps_in(tmp_path)
    assert "no fine-tuning run of this arm was given" in notes[0].why


def test_what_cannot_be_computed_is_said(tmp_path, patients):
    for arm in ("a", "b"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    why = [note.why for note in prediction_gaps_in(tmp_path)]
    assert any("no arm named scratch or imagenet or moco" in one for one in why)
    assert any("neither label efficiency nor a KS distance" in one for one in why)
    patients.run(tmp_path / "full", "a", 1.0, patients.predictions(1.0))
    told_of = {note.what[-3:]: note.why for note in prediction_gaps_in(tmp_path)}
    assert "its KS distance is not known" in told_of[": b"]
    assert "the floor of the KS distance is not known" in told_of[": a"]


def test_gaps_are_said(page):
    missing = page.text[page.text.index("What is missing, and cautions") :]
    where = "subtype on cxr.store"
    assert f"atlas, {where}: moco_bt and moco_mse : no finished run." in missing
    assert (
        f"layer-wise probing, {where}: moco : no finished run of seed 1 at 10 % of the labels"
        in missing
    )
    assert "layers/atlas/moco_mse-seed0 : result.json cannot be read" in missing


def test_absent_kinds_and_data_sets_are_said(tmp_path):
    finetune_run(tmp_path / "runs/tuned", "moco", 0.1)
    probe_run(tmp_path / "runs/p", "moco", 0.1, store={**STORE, "name": "other.store"})
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "feature reuse : no such run was given: this report says nothing about it" in text
    assert "atlas : no such run was given" in text
    assert "layer-wise probing, subtype on cxr.store : no such run was given" in text


def test_kinds_are_held_against_the_arms_of_each_other(tmp_path):
    for arm in ("moco", "moco_mse"):
        probe_run(tmp_path / f"runs/{arm}", arm, 0.1)
    reuse_run(tmp_path / "runs/reused", "moco", 0.1)
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "feature reuse, subtype on cxr.store: moco_mse : no finished run" in text
