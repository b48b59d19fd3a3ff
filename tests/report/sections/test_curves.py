"""Training curves, epoch by epoch and penalty by penalty."""

import json

import pytest

from medstrata.report.render.figures import arm_styles
from medstrata.report.sections import curves
from support.predicted_runs import comparisons_in
from support.report_runs import finetune_run


def test_curves_count_epochs_from_one_and_follow_penalties(tmp_path, monkeypatch):
    drawn = {}

    def keep(lines, words, **axis):
        drawn[words.name] = ([(list(line.x), list(line.y)) for line in lines], axis)

    monkeypatch.setattr(curves, "curve_figure", keep)
    for protocol in ("full", "frozen"):
        run = finetune_run(tmp_path / protocol, "moco", 0.1, protocol=protocol)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        lines[1]["train_loss"] = None
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for comparison in comparisons_in(tmp_path):
        list(curves.finetune_curves(comparison, arm_styles(["moco"])))
    start = "subtype-cxr-store"
    [(x, y)], axis = drawn[f"{start}-full-training-10-percent-loss"]
    assert x == [*range(1, 11)]
    assert y[:2] == [pytest.approx(0.69), None]
    assert not axis["log_x"]
    [(x, _)], axis = drawn[f"{start}-frozen-training-10-percent-score"]
    assert x == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10])
    assert axis["log_x"]
