"""The sections on layers in the page: which there are, and that data is escaped."""

import pandas as pd

from support.layer_runs import atlas_run, probe_run, reuse_run
from support.report_page import write
from support.report_runs import STORE, TASK, finetune_run

HOSTILE = "<script>alert('1')</script>\"&$x_$"


def test_sections_stand_only_where_there_are_runs(tmp_path, page):
    anchors = {"#probing", "#reuse", "#atlas"}
    assert anchors <= {one.get("href") for one in page.all("a")}
    finetune_run(tmp_path / "runs/tuned", "moco", 0.1)
    bare = write(tmp_path / "runs", tmp_path / "bare.html")
    assert not anchors & {one.get("href") for one in bare.all("a")}
    probe_run(tmp_path / "runs/probed", "moco", 0.1)
    probed = write(tmp_path / "runs", tmp_path / "probed.html")
    assert anchors & {one.get("href") for one in probed.all("a")} == {"#probing"}


def test_page_of_layers_alone(tmp_path):
    atlas_run(tmp_path / "runs/a", "moco")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "looks into the layers of encoders and says nothing about how well they classify" in text
    assert "1 atlas run" in text
    assert "feature reuse : no such run was given" in text


def test_data_is_escaped(tmp_path):
    task = {**TASK, "name": HOSTILE, "classes": [HOSTILE, "virus"]}
    given = {"task": task, "store": {**STORE, "name": HOSTILE}}
    probe = probe_run(tmp_path / "runs/p", HOSTILE, 0.1, metric=HOSTILE, **given)
    reuse = reuse_run(tmp_path / "runs/r", HOSTILE, 0.1, legacy=True, **given)
    method = {"method": HOSTILE, "seed": 0}
    atlas = atlas_run(tmp_path / "runs/a", HOSTILE, map=method, **given)
    points = pd.read_parquet(atlas / "map.parquet")
    points.assign(label=HOSTILE, patient_id=HOSTILE, site=HOSTILE).to_parquet(atlas / "map.parquet")
    for run in (probe, reuse, atlas):
        text = (run / "result.json").read_text().replace("stage1", "<script>1")
        (run / "result.json").write_text(text)
    page = write(tmp_path / "runs", tmp_path / "r.html")
    # The page's own script is the only one.
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 15
    assert "<script>1" in page.text


def test_nothing_defined_is_no_section(tmp_path):
    stages = {"stage1": {"linear": {"value": None, "low": None, "high": None}}}
    test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
    probe_run(tmp_path / "runs/p", "moco", 0.1, test=test)
    reuse_run(tmp_path / "runs/r", "moco", 0.1, cka={}, heatmap=None)
    anchors = {one.get("href") for one in write(tmp_path / "runs", tmp_path / "r.html").all("a")}
    assert not {"#probing", "#reuse"} & anchors
