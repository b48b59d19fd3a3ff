"""Bootstrap intervals, against resamples that are written out."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from medstrata.metrics import intervals, resampling
from medstrata.metrics.intervals import bootstrap_interval, resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.resampling import resample_patients
from support.plain_metrics import CASES, PLAIN, predictions


def interval(
    name: str = "macro_auroc", count: int = 60, patients: Any = None, **options: Any
) -> intervals.Interval:
    target, probability = predictions("binary", count)
    ids = np.arange(count) if patients is None else patients
    return bootstrap_interval(name, target, probability, "binary", ids, **options)


def width(one: intervals.Interval) -> float:
    return one.high - one.low


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_interval_is_the_percentiles_of_materialised_resamples(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    patients = np.repeat(np.arange(20), 3)
    found = bootstrap_interval(
        name, target, probability, kind, patients, resamples=12, seed=3, level=0.8
    )
    counts = np.random.Generator(np.random.PCG64(3)).multinomial(20, [1 / 20] * 20, size=12)
    values = []
    for row in counts:
        rows = np.concatenate([np.flatnonzero(patients == p).repeat(row[p]) for p in range(20)])
        values.append(PLAIN[name](target[rows], probability[rows], kind))
    assert found.value == score(name, target, probability, kind)
    assert found.resamples == 12
    assert (found.low, found.high) == pytest.approx(
        (np.quantile(values, 0.1), np.quantile(values, 0.9)), abs=1e-12
    )


def test_mean_of_several_models_is_resampled_together():
    drawn = np.array([[0.1, 0.5, np.nan], [0.3, 0.9, 0.2]])
    np.testing.assert_allclose(intervals.mean_of_models(list(drawn)), [0.2, 0.7, np.nan])
    assert intervals.percentile_ends(intervals.mean_of_models(list(drawn)), 0.5) == pytest.approx(
        (0.325, 0.575, 2)
    )
    with pytest.raises(ValueError, match="no predictions to score"):
        intervals.mean_of_models([])


def test_resamples_without_a_value_are_told():
    target = np.array([0, 0, 0, 1])
    drawn = resampled_scores(
        "macro_auroc",
        target,
        np.array([[0.1], [0.2], [0.6], [0.4]]),
        "binary",
        resample_patients(np.arange(4), 4),
    )
    counts = np.random.Generator(np.random.PCG64(0)).multinomial(4, [1 / 4] * 4, 1000)
    one_class = (counts[:, 3] == 0) | (counts[:, 3] == 4)
    assert (np.isnan(drawn) == one_class).all()


def test_interval_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = interval(seed=1)
    assert first == interval(seed=1) != interval(seed=2)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    monkeypatch.setattr(resampling, "_BLOCK", 7 * 60)
    in_blocks = interval(seed=1)
    assert dataclasses.astuple(in_blocks) == pytest.approx(dataclasses.astuple(first), abs=1e-12)


def test_interval_does_not_narrow_with_more_resamples():
    few = [width(interval(resamples=500, seed=seed)) for seed in range(4)]
    many = [width(interval(resamples=5000, seed=seed)) for seed in range(4)]
    assert np.mean(many) == pytest.approx(np.mean(few), rel=0.1)


def test_interval_narrows_with_the_root_of_the_patients():
    # Sixteen times the samples, the same distribution: a quarter of the width.
    target, probability = predictions("binary", 100)
    tiled = np.tile(target, 16), np.tile(probability, (16, 1))
    one = bootstrap_interval("accuracy", target, probability, "binary", np.arange(100))
    many = bootstrap_interval("accuracy", *tiled, "binary", np.arange(1600))
    assert width(many) == pytest.approx(width(one) / 4, rel=0.15)


def test_patients_are_resampled_whole():
    target, probability = predictions("binary", 10)
    single = bootstrap_interval("macro_auroc", target, probability, "binary", np.arange(10))
    repeated = np.repeat(target, 100), np.repeat(probability, 100, axis=0)
    patients = np.repeat(np.arange(10), 100)
    whole = bootstrap_interval("macro_auroc", *repeated, "binary", patients)
    assert dataclasses.astuple(whole) == pytest.approx(dataclasses.astuple(single))
    by_image = bootstrap_interval("macro_auroc", *repeated, "binary", np.arange(1000))
    assert width(by_image) < width(whole) / 3


def test_interval_takes_ids_of_any_kind_in_any_order():
    target, probability = predictions("binary")
    numbers = np.repeat(np.arange(20), 3)
    names = np.array([f"patient {number:02d}" for number in numbers], dtype=object)
    order = np.random.default_rng(4).permutation(60)
    plain = bootstrap_interval("macro_auroc", target, probability, "binary", numbers)
    shuffled = bootstrap_interval(
        "macro_auroc", target[order], probability[order], "binary", names[order]
    )
    assert dataclasses.astuple(shuffled) == pytest.approx(dataclasses.astuple(plain))


def test_one_patient_gives_a_point():
    one = interval(patients=np.zeros(60), resamples=5)
    assert one.low == pytest.approx(one.value)
    assert one.high == pytest.approx(one.value)


def test_resamples_without_a_value_are_dropped_and_counted():
    target, probability = predictions("binary", 4)
    target[:] = [0, 0, 0, 1]
    found = bootstrap_interval("macro_auroc", target, probability, "binary", np.arange(4))
    # Both classes drawn: 1 - (3/4)^4 - (1/4)^4 = 0.68 of the resamples.
    assert 620 < found.resamples < 740
    assert np.isfinite([found.low, found.high]).all()


def test_an_interval_without_any_value_is_refused():
    target, probability = np.array([0, 1]), np.array([[0.2], [0.7]])
    draw = np.random.Generator(np.random.PCG64(3)).multinomial(2, [0.5, 0.5])
    assert 2 in draw  # one of the two patients, twice
    with pytest.raises(ValueError, match="not defined in any of 1 resamples"):
        bootstrap_interval(
            "macro_auroc", target, probability, "binary", np.arange(2), resamples=1, seed=3
        )


def test_options_of_the_interval_are_checked():
    with pytest.raises(ValueError, match=r"patient_ids has shape \(3,\): .* the 60 samples"):
        interval(patients=np.arange(3))
    with pytest.raises(ValueError, match="resamples is 0: it must be 1 or more"):
        interval(resamples=0)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=rf"level is {level}: it must lie above 0 and below 1"):
            interval(level=level)
