"""Gains averaged over data sets whose truth is known."""

import numpy as np
import pytest

from medstrata.report.sections.mean_difference import gains_section, mean_difference
from support.predicted_runs import Patients, comparisons_in, seeds
from support.report_runs import STORE


def entries(table) -> dict[str, list]:
    return {row[0].text: list(row[1:]) for row in table.rows}


def test_gain_is_the_mean_of_the_sets(tmp_path):
    skills = {"scratch": 0.5, "moco": 2.0}
    for i, name in enumerate(("a", "b")):
        made = Patients(patients=40 + i, seed=i)
        for arm, skill in skills.items():
            store = {**STORE, "name": name}
            seeds(tmp_path / name, made, arm, skill, own=len(arm), store=store)
    seeds(tmp_path / "b", Patients(patients=41, seed=1), "imagenet", 1.0, 9, store=store)
    found = comparisons_in(tmp_path)
    expected = []
    for comparison in found:
        column = comparison.column(0.1, "macro_auroc")
        expected.append(column["moco"].value - column["scratch"].value)
    mean = mean_difference(dict(enumerate(found)), "moco", "scratch", 0.1)
    assert mean is not None
    assert mean.mean.value == pytest.approx(np.mean(expected))
    assert dict(mean.parts) == pytest.approx(dict(enumerate(expected)))
    assert mean.too_few == ""
    alone = [mean_difference({i: one}, "moco", "scratch", 0.1).mean for i, one in enumerate(found)]
    # Sets apart: the interval of their mean is narrower than the mean of theirs.
    widths = [one.high - one.low for one in (mean.mean, *alone)]
    assert 0 < widths[0] < 0.9 * np.mean(widths[1:])
    table = gains_section(found).parts[1]
    shown = entries(table)
    places = [one.store.name for one in found]
    assert shown["imagenet"][0].notes[0].split(", ")[places.index("a")] == "–"
    assert "no verdict" not in "".join(shown["moco"][0].notes)
    assert not gains_section(found[:1]).parts
