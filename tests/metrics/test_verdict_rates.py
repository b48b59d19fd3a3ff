"""Studies without a true gain are called significant as often as a test at 5 % may."""

import runpy
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medstrata.metrics.intervals import resampled_scores
from medstrata.metrics.paired_difference import paired_difference
from medstrata.metrics.resampling import resample_patients
from support.clustered import tolerance

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_verdicts.py"
STUDIES = 250


@cache
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def settings(seeds: int) -> Iterator[Any]:
    for seed_deviation, draw_deviation in product((0.0, 0.01, 0.03, 0.05), (0.03, 0.08)):
        yield script()["Setting"](
            seeds=seeds,
            draws=5,
            patients=100,
            seed_deviation=seed_deviation,
            draw_deviation=draw_deviation,
        )


@cache
def shares(seeds: int, gain: float, rule: str) -> list[dict[str, float]]:
    counted = script()["counted"]
    return [counted(setting, gain, STUDIES, [rule])[rule] for setting in settings(seeds)]


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_studies_without_a_gain_one_in_twenty_is_called_significant(seeds: int) -> None:
    found = [one["significant"] for one in shares(seeds, 0.0, script()["CHOSEN"])]
    assert max(found) <= 0.07 + tolerance(0.07, STUDIES)
    assert 0.03 <= np.mean(found) <= 0.07


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_the_true_gain(seeds: int) -> None:
    gain = script()["GAIN"]
    found = [one["covered"] for one in shares(seeds, gain, script()["CHOSEN"])]
    assert min(found) >= 0.93 - tolerance(0.93, STUDIES)
    assert 0.93 <= np.mean(found) <= 0.97


def test_rules_that_take_runs_or_patients_alone_are_wrong_far_more_often() -> None:
    for rule in ("patients alone", "t of all runs"):
        found = [one["significant"] for one in shares(3, 0.0, rule)]
        assert np.mean(found) > 0.1
        assert max(found) > 0.2


def test_the_influence_of_patients_stands_for_their_resamples() -> None:
    simulated = script()
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(2, 2, 5, 100)) + np.linspace(0.5, 1, 20).reshape(2, 2, 5, 1) * (
        ill := np.arange(100) < 40
    )
    probability = 1 / (1 + np.exp(-scores))
    tables, arms = [], []
    for arm in probability:
        value, influence = simulated["auroc"](arm, ill)
        arms.append(simulated["Arm"](value, influence))
        resampled = [
            resampled_scores(
                "macro_auroc",
                ill.astype(int),
                run[:, None],
                "binary",
                resample_patients(np.arange(100), 100, resamples=2000),
            )
            for run in arm.reshape(10, 100)
        ]
        drawn = np.stack(resampled).reshape(2, 5, 2000)
        tables.append(np.concatenate([value[..., None], drawn], axis=-1))
    found = paired_difference(tables[0], tables[1], patients=100)
    expected = simulated["variance_sum"](*arms)
    assert found.value == pytest.approx(expected.value)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.05)
    assert found.degrees_of_freedom == pytest.approx(expected.degrees_of_freedom, rel=0.2)
