"""Stages in order, and which of them are shown."""

import json

from medstrata.report.compare.stages import shown_stages, stage_marks, stage_order
from medstrata.report.render.formatting import percent_slug
from support.layer_runs import probe_run, reuse_run
from support.report_page import (
    Page,
    write,
)


def test_stages_are_named_in_order():
    order = stage_order([("stage1", "pooled"), ("stage1", "stage2", "pooled")])
    assert order == ("stage1", "stage2", "pooled")
    assert shown_stages([{"stage1": 1}, {"stage1": 2}]) == ("stage1",)
    assert shown_stages([{"stage1": 1, "pooled": 1}, {"stage1": 2, "pooled": 1}])[-1] == "pooled"
    assert list(stage_marks(order).values()) == ["1", "2", "pooled"]
    assert list(stage_marks(("<b>",)).values()) == ["1"]
    assert percent_slug(0.01) == "1-percent"
    assert percent_slug(0.001) == "0-1-percent"


def section(page: Page, start: str, end: str) -> str:
    return page.text[page.text.index(start) : page.text.index(end)]


def test_pooled_features_that_are_the_last_stages_are_not_shown_twice(tmp_path):
    for name, make in (("p", probe_run), ("r", reuse_run)):
        run = make(tmp_path / "runs" / name, "moco", 0.1)
        result = json.loads((run / "result.json").read_text())
        stages = [result["test"]["stages"]] if make is probe_run else list(result["cka"].values())
        for one in stages:
            one["pooled"] = one["stage4"]
        (run / "result.json").write_text(json.dumps(result))
    page = write(tmp_path / "runs", tmp_path / "r.html")
    echo = "Stages: stage1, stage2, stage3 and stage4; the pooled features are the last stage’s."
    assert page.text.count(echo) == 2
    tables = section(page, "Layer-wise probing", "Heat maps")
    assert "pooled" not in tables.replace(echo, "")
