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
    assert mean.value == pytest.approx(np.mean(expected))
    assert dict(mean.parts) == pytest.approx(dict(enumerate(expected)))
    assert mean.interval[0] < mean.value < mean.interval[1]
    alone = [
        mean_difference({i: one}, "moco", "scratch", 0.1).interval for i, one in enumerate(found)
    ]
    # Sets drawn apart: the interval of their mean is narrower than the mean of theirs.
    assert mean.interval[1] - mean.interval[0] < 0.9 * np.mean([b - a for a, b in alone])
    # The same set twice is drawn apart too: else the interval would be that of one.
    twice = mean_difference(dict.fromkeys((0, 1), found[0]), "moco", "scratch", 0.1).interval
    assert (twice[1] - twice[0]) / (alone[0][1] - alone[0][0]) == pytest.approx(0.71, abs=0.1)
    table = gains_section(found).parts[1]
    shown = entries(table)
    places = [one.store.name for one in found]
    assert shown["imagenet"][0].notes[0].split(", ")[places.index("a")] == "–"
    assert not gains_section(found[:1]).parts
