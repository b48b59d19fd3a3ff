"""Differences of arms by hand and against a plain version, Holm against its procedure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from medstrata.metrics.intervals import resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.paired_difference import (
    Difference,
    VariancePart,
    average_difference,
    holm,
    paired_difference,
)
from medstrata.metrics.resampling import resample_patients
from support.arms import compare_arms, noisy_arms
from support.plain_metrics import CASES, PLAIN, predictions

PATIENTS = np.repeat(np.arange(20), 3)


def tables(
    shape: tuple[int, int], other: tuple[int, int], resamples: int = 7, seed: int = 0
) -> list[NDArray[np.float64]]:
    """Scores of two arms, (S, D, 1 + R) each, with something of each seed, draw and run."""
    generator = np.random.default_rng(seed)
    return [
        0.7
        + 0.05 * generator.normal(size=(seeds, 1, 1))
        + 0.05 * generator.normal(size=(1, draws, 1))
        + 0.05 * generator.normal(size=(seeds, draws, 1))
        + 0.03 * generator.normal(size=(seeds, draws, 1 + resamples))
        for seeds, draws in (shape, other)
    ]


def of_source(found: Difference, source: str) -> float:
    return sum(part.variance for part in found.parts if part.source == source)


def plain_squares(first: Any, second: Any, same_draws: bool) -> list[tuple[str, float, int]]:
    """What seeds and draws add, of tables (S, D), number by number."""
    found = []
    for arm in (first, second):
        seeds, draws = len(arm), len(arm[0])
        if seeds == 1:
            continue
        own = [sum(row) / draws for row in arm]
        found.append(("seeds", stats.tvar(own) / seeds, seeds - 1))
        if draws > 1:
            of_draws = [sum(row[d] for row in arm) / seeds for d in range(draws)]
            all_of_it = sum(own) / seeds
            rest = sum(
                (arm[s][d] - own[s] - of_draws[d] + all_of_it) ** 2
                for s in range(seeds)
                for d in range(draws)
            )
            freedom = (seeds - 1) * (draws - 1)
            found.append(("seeds", -rest / freedom / (seeds * draws), freedom))
    means = [
        [np.mean([row[d] for row in arm]) for d in range(len(arm[0]))] for arm in (first, second)
    ]
    if same_draws:
        means = [[a - b for a, b in zip(*means, strict=True)]]
    return found + [
        ("draws", stats.tvar(of_draws) / len(of_draws), len(of_draws) - 1)
        for of_draws in means
        if len(of_draws) > 1
    ]


@pytest.mark.parametrize("same_draws", [True, False])
@pytest.mark.parametrize(
    ("shape", "other"),
    [((3, 5), (3, 5)), ((3, 4), (1, 4)), ((1, 6), (1, 6)), ((2, 1), (5, 1)), ((1, 1), (1, 1))],
)
def test_equals_the_plain_version(
    shape: tuple[int, int], other: tuple[int, int], same_draws: bool
) -> None:
    first, second = tables(shape, other)
    found = paired_difference(first, second, patients=50, same_draws=same_draws, level=0.9)
    differences = [
        np.mean(first[:, :, r]) - np.mean(second[:, :, r]) for r in range(first.shape[2])
    ]
    parts = [("patients", stats.tvar(differences[1:]), 49)]
    for i, (source, variance, freedom) in enumerate(
        plain_squares(first[:, :, 0].tolist(), second[:, :, 0].tolist(), same_draws)
    ):
        noise = [
            plain_squares(
                *((arm[:, :, r] - arm[:, :, 1:].mean(axis=2)).tolist() for arm in (first, second)),
                same_draws,
            )[i][1]
            for r in range(1, first.shape[2])
        ]
        parts.append((source, variance - np.mean(noise), freedom))
    variance = max(parts[0][1], sum(part[1] for part in parts))
    freedom = max(1, variance**2 / sum(max(0, one) ** 2 / own for _, one, own in parts))
    assert [part.source for part in found.parts] == [part[0] for part in parts]
    assert [part.variance for part in found.parts] == pytest.approx([one for _, one, _ in parts])
    assert found.degrees_of_freedom == pytest.approx(freedom)
    ends = stats.t.interval(0.9, freedom, differences[0], np.sqrt(variance))
    assert (found.value, found.low, found.high) == pytest.approx((differences[0], *ends))
    p_value = 2 * stats.t.sf(abs(differences[0]) / np.sqrt(variance), freedom)
    assert found.p_value == pytest.approx(p_value)


def test_by_hand() -> None:
    # Seeds .6 .8 against .5 .5: variance .02 of the first's means, .01 of their mean; the only
    # draw and the patients, who never differ, add nothing. One degree of freedom: t is Cauchy's.
    first, second = np.full((2, 1, 4), 0.6), np.full((2, 1, 4), 0.5)
    first[1] = 0.8
    found = paired_difference(first, second, patients=10)
    assert found.value == pytest.approx(0.2)
    assert [of_source(found, one) for one in ("patients", "seeds", "draws")] == pytest.approx(
        [0, 0.01, 0]
    )
    assert found.degrees_of_freedom == pytest.approx(1)
    assert found.p_value == pytest.approx(1 - 2 * np.arctan(2) / np.pi)


def test_what_draws_do_to_both_arms_drops_out() -> None:
    first, second = tables((3, 5), (2, 5))
    shift = np.random.default_rng(1).normal(size=(1, 5, 1))
    plain = paired_difference(first, second, patients=50)
    moved = paired_difference(first + shift, second + shift, patients=50)
    assert moved.p_value == pytest.approx(plain.p_value)
    apart = paired_difference(first + shift, second + shift, patients=50, same_draws=False)
    assert of_source(apart, "draws") > 10 * of_source(moved, "draws")


def test_patients_noise_is_counted_once() -> None:
    """Seeds that differ by patients' noise alone add nothing, on average."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        patients = generator.normal(size=(2, 3, 4, 40))
        counts = generator.multinomial(40, np.full(40, 1 / 40), size=100)
        values = np.concatenate([np.full((1, 40), 1), counts]) / 40
        first, second = patients @ values.T
        found.append(paired_difference(first, second, patients=40))
    total = np.mean([sum(part.variance for part in one.parts) for one in found])
    assert total == pytest.approx(np.var([one.value for one in found]), rel=0.2)
    beyond = [of_source(one, "seeds") + of_source(one, "draws") for one in found]
    assert abs(np.mean(beyond)) < 0.1 * total


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_of_one_seed_the_variance_is_that_of_resampled_patients(name: str, kind: TaskKind) -> None:
    target, first, second = noisy_arms(kind)
    found = compare_arms(name, target, first[:1], second[:1], kind, PATIENTS, resamples=9, seed=4)
    counts = np.random.Generator(np.random.PCG64(4)).multinomial(20, [1 / 20] * 20, size=9)
    differences = []
    for row in counts:
        rows = np.repeat(np.arange(60), row[PATIENTS])
        one, other = (PLAIN[name](target[rows], arm[0][rows], kind) for arm in (first, second))
        differences.append(one - other)
    assert [part.source for part in found.parts] == ["patients"]
    assert found.parts[0].variance == pytest.approx(np.var(differences, ddof=1))
    assert found.degrees_of_freedom == pytest.approx(19)
    assert found.value == pytest.approx(
        score(name, target, first[0], kind) - score(name, target, second[0], kind)
    )


def test_resamples_without_a_score_are_left_out() -> None:
    first, second = tables((3, 5), (3, 5), resamples=20)
    kept = [arm[..., [0, *range(3, 21)]] for arm in (first, second)]
    first[0, 1, 1], second[2, 0, 2] = np.nan, np.nan
    assert paired_difference(first, second, patients=50) == paired_difference(*kept, patients=50)


def test_arms_that_are_equal_differ_by_nothing() -> None:
    target, first, _ = noisy_arms("binary")
    for name in ("macro_auroc", "brier"):
        found = compare_arms(name, target, first[:1], first[:1], "binary", PATIENTS, resamples=20)
        assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_exchanging_the_arms_turns_the_sign() -> None:
    first, second = tables((3, 5), (2, 5))
    forth = paired_difference(first, second, patients=50)
    back = paired_difference(second, first, patients=50)
    assert forth.p_value == pytest.approx(back.p_value)
    assert (forth.value, forth.low, forth.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_paired_interval_is_narrower_than_of_separate_resamples() -> None:
    target, probability = predictions("binary", 300)
    noise = 0.02 * np.random.default_rng(0).normal(size=probability.shape)
    alike, ids = np.clip(probability + noise, 0, 1), np.arange(300)
    found = compare_arms("macro_auroc", target, [probability], [alike], "binary", ids)
    one, other = (resample_patients(ids, 300, seed=seed) for seed in (1, 2))
    apart = resampled_scores("macro_auroc", target, probability, "binary", one)
    apart = apart - resampled_scores("macro_auroc", target, alike, "binary", other)
    low, high = np.quantile(apart, [0.025, 0.975])
    assert 0 < found.high - found.low < (high - low) / 3


def test_what_cannot_be_compared_is_refused() -> None:
    first, second = tables((3, 5), (3, 4))
    with pytest.raises(ValueError, match="5 draws against 4: give those of both"):
        paired_difference(first, second, patients=50)
    with pytest.raises(ValueError, match="level is 1"):
        paired_difference(first, first, patients=50, level=1)
    with pytest.raises(ValueError, match="1 patient: two or more are needed"):
        paired_difference(first, first, patients=1)
    first[0, 0, 2:] = np.nan
    with pytest.raises(ValueError, match="the score is defined in 1 of 7 resamples"):
        paired_difference(first, first, patients=50)


# Of several data sets.


def test_the_mean_over_data_sets_adds_their_variances() -> None:
    found = [paired_difference(*tables((3, 5), (3, 5), seed=i), patients=50) for i in (1, 2, 3)]
    mean = average_difference(found)
    assert mean.value == pytest.approx(np.mean([one.value for one in found]))
    total = sum(part.variance for one in found for part in one.parts) / 9
    assert sum(part.variance for part in mean.parts) == pytest.approx(total)
    shares = sum(
        max(0, p.variance / 9) ** 2 / p.degrees_of_freedom for one in found for p in one.parts
    )
    assert mean.degrees_of_freedom == pytest.approx(total**2 / shares)
    # Sets that are equally sure make the mean surer: by the root of their number, and by freedom.
    alike = [replace(found[0], value=0.1)] * 4
    narrow = average_difference(alike)
    assert narrow.high - narrow.low < (found[0].high - found[0].low) / 2
    assert narrow.degrees_of_freedom == pytest.approx(4 * found[0].degrees_of_freedom)
    with pytest.raises(ValueError, match="no difference to average"):
        average_difference([])


def test_what_seeds_and_draws_add_never_makes_a_difference_surer() -> None:
    parts = (VariancePart("patients", 0.01, 99), VariancePart("seeds", -0.004, 2))
    given = Difference(value=0.1, low=0, high=0, p_value=1, degrees_of_freedom=1, parts=parts)
    found = average_difference([given])
    assert found.degrees_of_freedom == pytest.approx(99)
    assert found.high - 0.1 == pytest.approx(0.1 * stats.t.ppf(0.975, 99))


# Holm.


def test_holm_by_hand():
    # In order .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_rejects_as_the_step_down_procedure_does():
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.random(generator.integers(1, 8)) ** 3
        values[generator.integers(len(values))] = values[0]  # a tie
        level = generator.random() * 0.3
        rejected = np.zeros(len(values), dtype=bool)
        for step, number in enumerate(np.argsort(values)):
            if values[number] > level / (len(values) - step):
                break
            rejected[number] = True
        assert (np.array(holm(values)) <= level).tolist() == rejected.tolist()


@pytest.mark.parametrize("values", [[-0.1], [1.1], [np.nan, 0.5]])
def test_holm_refuses_what_is_no_p_value(values: list[float]):
    with pytest.raises(ValueError, match=r"p-values must lie in 0\.\.1"):
        holm(values)
