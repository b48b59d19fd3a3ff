"""How much of the features is kept, in numbers and sentences."""

import json

from medstrata.report.read.results import Reuse
from medstrata.report.read.runs import collect
from medstrata.report.sections.reuse_tables import reuse_findings
from support.layer_runs import READ, reuse_run
from support.report_page import (
    write,
)


def test_reuse_says_who_keeps_most_and_what_is_chance(tmp_path):
    for arm, value in (("kept", 0.8), ("lost", 0.1)):
        for seed in (0, 1):
            run = reuse_run(tmp_path / f"{arm}{seed}", arm, 0.1, seed)
            result = json.loads((run / "result.json").read_text())
            for i, one in enumerate(result["cka"]["linear_debiased"].values()):
                one["value"] = value + 0.01 * seed if i < 3 else 0.01
            (run / "result.json").write_text(json.dumps(result))
    runs = collect([tmp_path]).of(Reuse)
    at = {arm: [run for run in runs if run.arm == arm] for arm in ("kept", "lost")}
    most, chance = reuse_findings(at, READ)
    mean = (3 * 0.805 + 0.01) / 4
    assert f"kept keeps most ({mean:.3f}), lost least" in most
    assert "its range lies above that of the other arm" in most
    assert chance.startswith("No more alike than mismatched images (97.5th percentile): kept at s")
    assert "stage1" not in chance
    alone = {arm: runs[:1] for arm, runs in at.items()}
    assert "One seed only" in next(reuse_findings(alone, READ))


def test_reuse_that_overlaps_is_not_settled(tmp_path):
    runs = [reuse_run(tmp_path / f"r{seed}", "moco", 0.1, seed) for seed in (0, 1, 2)]
    read = collect(runs).of(Reuse)
    assert "Over seeds its range meets that of" in next(
        reuse_findings({"a": read[1:], "b": read[:2]}, READ)
    )


def test_legacy_is_shown_only_where_measured(page, tmp_path):
    assert "RBF CKA, legacy 1.000" in page.text
    assert "not to be relied on" in page.text
    reuse_run(tmp_path / "runs/r", "moco", 0.1)
    assert "legacy" not in write(tmp_path / "runs", tmp_path / "r.html").text.lower()
