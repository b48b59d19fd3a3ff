"""Which folders are runs, and what is said of those that cannot be read."""

import json

import pytest
import yaml

from medstrata.report.page import write_report
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.read.runs import collect
from support.layer_runs import atlas_run, probe_run
from support.report_page import (
    Page,
)
from support.report_runs import finetune_run


def test_runs_are_found_at_any_depth_and_once(root):
    study_folder = root / "study"
    everything = collect([study_folder])
    twice = collect([study_folder, study_folder / "full", study_folder / "pretrain/moco"])
    assert len(everything.of(Finetune)) == 2 * 3 * (4 + 3) - 4
    assert len(everything.of(Pretrain)) == 3
    assert twice == everything
    assert len(collect([study_folder / "pretrain/moco"]).of(Pretrain)) == 1


def test_folder_of_runs_with_settings_is_no_unfinished_run(tmp_path):
    finetune_run(tmp_path / "study/cell", "scratch", 1.0)
    (tmp_path / "study/config.yaml").write_text("arms: []")
    assert collect([tmp_path]).notes == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"kind": "survey"}', "unknown kind"),
        ('{"kind": "finetune"}', "lacks arm"),
        ('{"kind": "finetune", "x": NaN}', "NaN is not a number"),
    ],
)
def test_broken_result_is_a_note(tmp_path, text, why):
    (finetune_run(tmp_path / "bad", "moco", 0.1) / "result.json").write_text(text)
    finetune_run(tmp_path / "good", "scratch", 0.1)
    collection = collect([tmp_path])
    assert [run.arm for run in collection.of(Finetune)] == ["scratch"]
    (note,) = collection.notes
    assert note.what.endswith("/bad")
    assert why in note.why
    assert "\n" not in note.why


def test_result_outlives_its_neighbours(tmp_path):
    run = finetune_run(tmp_path / "run", "moco", 0.1)
    (run / "config.yaml").unlink()
    (run / "environment.json").write_text("{")
    (run / "metrics.jsonl").write_text("nonsense\n")
    collection = collect([run])
    assert len(collection.of(Finetune)) == 1
    assert "config.yaml, environment.json, metrics.jsonl missing" in collection.notes[0].why
    assert "macro AUROC" in Page(write_report([run], tmp_path / "r.html", files=False)).text


def test_edited_settings_are_a_note_and_those_of_the_run_count(tmp_path):
    run = finetune_run(tmp_path / "run", "moco", 0.1)
    as_made = yaml.safe_load((run / "config.yaml").read_text())
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "settings": as_made}))
    assert collect([run]).notes == ()
    (run / "config.yaml").write_text(yaml.safe_dump({**as_made, "seed": 77}))
    collection = collect([run])
    (note,) = collection.notes
    assert "config.yaml was edited after the run was made (seed " in note.why
    assert "-> 77): what it was counts" in note.why
    (kept,) = collection.of(Finetune)
    assert yaml.safe_load(kept.files.settings) == as_made


def test_broken_atlas_is_a_note(tmp_path):
    run = atlas_run(tmp_path / "bad", "moco")
    text = (run / "result.json").read_text()
    for words in ('"rankme"', '"k"', '"queries"', '"method"'):
        (run / "result.json").write_text(text.replace(words, '"other"'))
        (note,) = collect([run]).notes
        assert f"lacks {words[1:-1]}" in note.why
    (run / "result.json").write_text(text.replace('"neighbours"', '"n"', 1))
    assert "left out" in collect([run]).notes[0].why


def test_runs_without_epochs_lack_nothing(tmp_path):
    probe_run(tmp_path / "p", "moco", 0.1)
    assert collect([tmp_path]).notes == ()
