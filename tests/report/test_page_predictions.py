"""Every section that rests on predictions, in the page."""

from pathlib import Path

import yaml

from medstrata.report.page import write_report
from support.predicted_runs import (
    TASKS,
    Patients,
    change_result,
)
from support.report_page import HOSTILE, Page
from support.report_runs import STORE, pretrain_run


def encoder(folder: Path, arm: str, **intermediate) -> Path:
    run = pretrain_run(folder / arm, arm, epochs=1)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"intermediate": intermediate}))
    return run


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
                made.run(run, arm, fraction, probability, store=store, encoder="elsewhere")
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
        "KS distance: few labels against all",
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
