"""Results that do not hold what they should."""

import json

import pytest

from medstrata.report.read.runs import collect
from support.layer_runs import probe_run, reuse_run


def drop(*path: str):
    def change(result):
        for key in path[:-1]:
            result = result[key]
        del result[path[-1]]

    return change


def put(value, *path: str):
    def change(result):
        for key in path[:-1]:
            result = result[key]
        result[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("make", "change", "why"),
    [
        (probe_run, drop("test", "stages"), "lacks stages"),
        (probe_run, put(2, "fraction"), "fraction 2.0 is not above 0"),
        (probe_run, put([], "test", "stages"), "cannot be read"),
        (probe_run, put("x", "test", "stages", "stage1", "linear", "low"), "cannot be read"),
        (reuse_run, drop("cka", "linear", "stage1", "null"), "lacks null"),
        (reuse_run, put("x", "cka", "rbf", "stage1", "random"), "cannot be read"),
        (reuse_run, put([[1.0]], "heatmap", "before"), "a heat map is not of 5 x 5 stages"),
        (reuse_run, put("inf", "legacy"), "cannot be read"),
    ],
)
def test_broken_result_is_a_note(tmp_path, make, change, why):
    run = make(tmp_path / "runs/bad", "moco", 0.1)
    result = json.loads((run / "result.json").read_text())
    change(result)
    (run / "result.json").write_text(json.dumps(result))
    make(tmp_path / "runs/good", "scratch", 0.1)
    collection = collect([tmp_path / "runs"])
    assert [one.arm for one in collection.runs] == ["scratch"]
    (note,) = collection.notes
    assert note.what.endswith("/bad")
    assert why in note.why
