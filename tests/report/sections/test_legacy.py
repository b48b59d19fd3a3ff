"""Figures of the paper's code beside the right ones."""

import pytest

from medstrata.report.sections.legacy import legacy_section
from support.predicted_runs import (
    change_result,
    comparison_in,
    seeds,
)


def test_legacy_figures_stand_beside_the_right_ones(tmp_path, patients):
    seeds(tmp_path, patients, "moco", 1.0, 0, count=1)
    assert not legacy_section([comparison_in(tmp_path)]).parts
    for draw in (0, 1):
        interval = {"macro_auroc": {"value": 0.5, "low": 0.4 + draw, "high": 0.6 + draw}}
        legacy = {"last_epoch": {"macro_auroc": 0.5 + draw}, "interval": interval}
        change_result(tmp_path / f"moco-0-0-{draw}", legacy=legacy)
    comparison = comparison_in(tmp_path)
    section = legacy_section([comparison])
    assert "not to be used" in section.title
    (row,) = section.parts[1].rows
    assert row[2].number == comparison.column(0.1, "macro_auroc")["moco"].value
    assert row[3].number == pytest.approx(1.0)
    assert row[4].interval == pytest.approx((0.9, 1.1))
