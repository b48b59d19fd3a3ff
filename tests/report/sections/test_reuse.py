"""Feature reuse where some of it is not defined."""

import json
import re

from support.layer_runs import probe_run, reuse_run
from support.report_page import write

ARMS = ("scratch", "moco", "moco_mse")


def test_undefined_scores_and_optional_parts_are_left_out(tmp_path):
    run = probe_run(tmp_path / "runs/p", "moco", 0.1)
    text = (run / "result.json").read_text()
    result = json.loads(text)
    result["test"]["stages"]["stage1"]["linear"]["value"] = None
    (run / "result.json").write_text(json.dumps(result))
    reuse_run(tmp_path / "runs/r", "moco", 0.1, heatmap=None)
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "no score (linear layer) at stage1" in text
    assert "no heat map of stage by stage was recorded" in text
    assert "Heat maps, stage by stage" not in text


def test_undefined_similarities_are_left_empty(tmp_path):
    run = reuse_run(tmp_path / "runs/r", "moco", 0.1)
    result = json.loads((run / "result.json").read_text())
    undefined = dict.fromkeys(("value", "subset_mean", "subset_sd", "random"))
    for by_stage in result["cka"].values():
        by_stage["stage1"] = undefined | {"null": {"mean": None, "high": None}}
        by_stage["stage2"] |= undefined | {"value": 0.4, "null": {"mean": None, "high": None}}
    for matrix in ("before_after", "before"):
        result["heatmap"][matrix][0] = [None] * 5
    (run / "result.json").write_text(json.dumps(result))
    page = write(tmp_path / "runs", tmp_path / "r.html")
    assert "subtype on cxr.store" in page.text
    assert "fine-tuned: subtype on cxr.store" not in page.text
    assert "no CKA at stage1" in page.text
    assert "not measured 0.400" in page.text
    assert [one for one in page.all("div") if "undefined, 0." in (one.get("aria-label") or "")]


def test_heat_maps_stand_at_the_smallest_and_the_largest_fraction(page):
    captions = re.findall(r"between all pairs of stages, (\S+ %|\S+) of the labels", page.text)
    assert len(captions) == 2 * len(ARMS)
    assert len(set(captions)) == 2


def test_seeds_of_other_stages_do_not_spoil_heat_maps(tmp_path):
    reuse_run(tmp_path / "runs/0", "moco", 0.1)
    few = {"measure": "linear_debiased"} | {
        name: [[1.0]] for name in ("before_after", "before", "after")
    }
    reuse_run(tmp_path / "runs/1", "moco", 0.1, 1, stages=["stage1"], heatmap=few)
    assert "Heat maps" in write(tmp_path / "runs", tmp_path / "r.html").text
