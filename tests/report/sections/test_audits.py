"""The section of the report on the data audit."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.audit.audit import audit
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.synthetic.chest import FAMILIES, draw_image
from medstrata.report.page import write_report
from medstrata.runs.folder import keep_audit
from support.report_page import HOSTILE, Page
from support.report_runs import finetune_run, pretrain_run


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A store of 40 patients, one image each, bright where there is a finding."""
    folder = tmp_path_factory.mktemp("audited")
    (folder / "images").mkdir()
    rows = []
    for patient in range(40):
        pixels = draw_image(patient % len(FAMILIES), patient, 0, size=32) // 2 + 100 * (patient % 2)
        cv2.imwrite(str(folder / "images" / f"{patient}.png"), pixels.astype(np.uint8))
        rows.append({"file": f"{patient}.png", "patient_id": patient, "finding": patient % 2})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return prepare(
        folder / "images", folder / "s.store", PrepareSettings(labels=folder / "labels.csv")
    )


def test_section_shows_the_audit_once(audited, tmp_path):
    for place, run in enumerate(
        [pretrain_run(tmp_path / "pre", "moco", epochs=1)]
        + [finetune_run(tmp_path / f"tuned{n}", "moco", 1.0, seed=n) for n in range(2)]
    ):
        keep_audit(audited.path, run)
        assert (run / "audit.json").is_file(), place
    page = Page(write_report([tmp_path], tmp_path / "r.html", files=False))
    assert page.text.count("What was looked for in cxr.store") == 1
    facts = audit(audited).facts
    (row,) = (one for one in facts["shortcuts"] if one["cue"] == "intensity")
    value, low, high = (row["auroc"][name] for name in ("value", "low", "high"))
    assert f"{value:.3f} [{low:.3f}, {high:.3f}] strong shortcut" in page.text
    train = facts["labels"]["finding"]["splits"]["train"]
    assert train["images"] > 20
    assert f" 0 {train['per_class']['0']} " in page.text
    assert "Caution : label finding: strong shortcut by intensity alone" in page.text
    assert {"href": "#audit"} in page.all("a")
    assert "no data audit" not in page.text
    assert len(page.all("table")) == len(page.all("caption"))


def test_runs_without_audit_are_named(tmp_path):
    finetune_run(tmp_path / "run", "moco", 1.0)
    text = Page(write_report([tmp_path], tmp_path / "r.html", files=False)).text
    assert "cxr.store : no data audit in some of its run folders" in text
    assert "Data audit" not in text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "audit.json is not readable"),
        ("[1]", "audit.json is not readable"),
        ("{}", "the data audit of its runs cannot be read"),
        ('{"store_digest": "a", "shortcuts": [1]}', "the data audit of its runs cannot be read"),
    ],
)
def test_broken_audit_is_a_note(tmp_path, content, why):
    (finetune_run(tmp_path / "run", "moco", 1.0) / "audit.json").write_text(content)
    assert why in Page(write_report([tmp_path], tmp_path / "r.html", files=False)).text


def test_names_are_escaped(audited, tmp_path):
    facts = json.loads((audited.path / "audit.json").read_text())
    facts["labels"] = {HOSTILE: facts["labels"]["finding"]}
    facts["findings"][0]["what"] = HOSTILE
    for one in facts["shortcuts"]:
        one["label"] = HOSTILE
    (finetune_run(tmp_path / "run", "moco", 1.0) / "audit.json").write_text(json.dumps(facts))
    page = Page(write_report([tmp_path], tmp_path / "r.html", files=False))
    assert page.all("script") == [{}]
    assert page.text.count(HOSTILE) >= 3


def test_data_table_counts_the_classes_of_an_audited_task(audited, tmp_path):
    task = {"name": "finding", "kind": "binary", "classes": ["0", "1"]}
    subset = {"images": 3, "patients": 2, "per_class": {"0": 2, "1": 1}}
    run = finetune_run(tmp_path / "run", "moco", 1.0, task=task, subset=subset)
    keep_audit(audited.path, run)
    page = Page(write_report([tmp_path], tmp_path / "r.html", files=False))
    counts = audit(audited).facts["labels"]["finding"]["splits"]["train"]["per_class"]
    assert f"train 4,077 2,868 2,970 0: {counts['0']}, 1: {counts['1']} finding" in page.text
