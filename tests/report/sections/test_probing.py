"""What is read out at each stage: sentences, intervals, tables."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from medstrata.metrics.intervals import score
from medstrata.report.compare.comparison import comparisons
from medstrata.report.read.results import Probe
from medstrata.report.read.runs import collect
from medstrata.report.render.figures import arm_styles
from medstrata.report.render.parts import Collapsible, DefinitionList, Part, Pictures
from medstrata.report.sections.probing import probing_parts
from support.arms import mean_interval
from support.layer_runs import READ, probe_run
from support.predicted_runs import Patients, write_predictions
from support.report_page import (
    Page,
    write,
)


def the(kind: type, parts: list[Part]):
    (part,) = (part for part in parts if isinstance(part, kind))
    return part


def probing_of(folder: Path, *arms: str) -> list[Part]:
    (comparison,), notes = comparisons(collect([folder]).of(Probe))
    assert notes == []
    return list(probing_parts(comparison, arm_styles(arms)))


def said(parts: list[Part]) -> dict[str, str]:
    return dict(the(DefinitionList, parts).pairs)


def test_probing_tells_where_an_arm_is_level_with_its_end(tmp_path):
    def stage(value):
        return {"linear": {"value": value, "low": value - 0.02, "high": value + 0.02}}

    early = dict(zip(READ, map(stage, (0.60, 0.79, 0.80, 0.80, 0.5)), strict=True))
    late = dict(zip(READ, map(stage, (0.60, 0.62, 0.70, 0.80, 0.9)), strict=True))
    for arm, stages in (("early", early), ("late", late)):
        test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
        for seed in range(3):
            probe_run(tmp_path / f"{arm}{seed}", arm, 0.1, seed, test=test)
    parts = probing_of(tmp_path, "early", "late")
    sentences = said(parts)
    assert sentences["Level with the last stage"] == "early at stage2; late at stage4."
    clear = "The interval of early lies clear of that of late."
    assert sentences["stage2"].endswith(clear)
    assert sentences["stage3"] == f"early 0.800 comes first, late 0.700 next. {clear}"
    assert "share the first place at 0.600" in sentences["stage1"]
    # Nothing was read out by neighbours.
    assert [plot.words.title for plot in the(Pictures, parts).plots] == ["Linear layer"]


def probed(folder, patients, arm, seed):
    """A probe run whose predictions are those of its scores, better from stage to stage."""
    columns, stages = patients.frame(np.empty((patients.images, 1))).iloc[:, :-1], {}
    for i, stage in enumerate(READ[:3]):
        probability = patients.predictions(i, seed)
        value = score("macro_auroc", patients.target, probability, "binary")
        stages[stage] = {"linear": {"value": value, "low": 0.0, "high": 1.0}}
        columns[f"{stage}.linear.{patients.task['classes'][1]}"] = probability[:, 0]
    counts = {"images": patients.images, "patients": patients.images // 2, "resamples": 1000}
    probe_run(folder, arm, 0.1, seed, test={**counts, "stages": stages})
    write_predictions(folder, columns)


def test_probing_has_the_interval_of_the_mean(tmp_path):
    patients = Patients(patients=30)
    for seed in (0, 1):
        probed(tmp_path / f"run{seed}", patients, "moco", seed)

    def row():
        (table,) = the(Collapsible, probing_of(tmp_path, "moco")).parts
        return table.rows[0]

    for i, cell in enumerate(row()[2:5]):
        expected = mean_interval(
            "macro_auroc",
            patients.target,
            [patients.predictions(i, seed) for seed in (0, 1)],
            "binary",
            np.array(patients.patient_ids),
        )
        assert (cell.number, *cell.interval) == pytest.approx(expected)
        assert not any("median" in note for note in cell.notes)
    (tmp_path / "run1/predictions.parquet").unlink()
    assert row()[2].interval == (0.0, 1.0)
    assert "interval of the median run" in row()[2].notes
    assert "no predictions.parquet" in write(tmp_path, tmp_path / "r.html").text


def test_errors_are_read_the_other_way(tmp_path):
    def stage(value):
        return {"linear": {"value": value, "low": value - 0.02, "high": value + 0.02}}

    stages = dict(zip(READ, map(stage, (0.4, 0.3, 0.21, 0.2, 0.2)), strict=True))
    test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
    flat = {name: stage(0.4) for name in READ}
    other = {"images": 9, "patients": 9, "resamples": 9, "stages": flat}
    for seed in range(3):
        probe_run(tmp_path / f"run{seed}", "moco", 0.1, seed, metric="brier", test=test)
        probe_run(tmp_path / f"flat{seed}", "scratch", 0.1, seed, metric="brier", test=other)
    sentences = said(probing_of(tmp_path, "moco", "scratch"))
    assert sentences["Level with the last stage"] == "scratch at stage1; moco at stage3."
    assert sentences["stage3"].startswith(
        "moco 0.210 comes first, scratch 0.400 next. The interval"
    )


def section(page: Page, start: str, end: str) -> str:
    return page.text[page.text.index(start) : page.text.index(end)]


def test_probing_table_holds_the_numbers(page, root):
    scores = [
        json.loads((root / f"layers/probe/moco-1-seed{seed}/result.json").read_text())["test"][
            "stages"
        ]["stage2"]["knn"]["value"]
        for seed in (0, 1)
    ]
    text = section(page, "Layer-wise probing", "Feature reuse How alike")
    mean, low, high = (f"{one:.3f}" for one in (sum(scores) / 2, min(scores), max(scores)))
    assert re.search(rf"{mean}.{{0,80}}2 runs: {low} to {high}", text)
