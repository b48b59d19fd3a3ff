"""Heat maps of stage by stage."""

import re

from support.layer_runs import reuse_run
from support.report_page import (
    write,
)

ARMS = ("scratch", "moco", "moco_mse")


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
