"""Distances between probabilities whose truth is known."""

import pytest

from medstrata.metrics.ks_distance import KsDistance, KsDistances, ks_distance
from medstrata.report.sections.ks_distance import average, ks_distances
from support.predicted_runs import comparison_in


def test_distance_is_zero_between_equal_models_and_its_floor_too(tmp_path, patients):
    probability = patients.predictions(1.0)
    for seed in (0, 1, 2):
        for fraction in (0.1, 1.0):
            moved = probability**3 if fraction < 1 else probability
            third = probability**3 if seed == 2 else probability
            made = {"moco": probability, "scratch": moved, "imagenet": third}
            for arm, values in made.items():
                name = f"{arm}-{fraction}-{seed}"
                patients.run(tmp_path / name, arm, fraction, values, seed=seed)
    comparison = comparison_in(tmp_path)
    same, moved = ks_distances(comparison, "moco"), ks_distances(comparison, "scratch")
    assert same[0.1].mean.value == same[1.0].mean.value == moved[1.0].mean.value == 0
    distance = ks_distance(probability[:, 0] ** 3, probability[:, 0])
    assert moved[0.1].mean.value == pytest.approx(distance)
    assert moved[0.1].mean.low < distance < moved[0.1].mean.high
    # One seed of three differs from the other two.
    assert ks_distances(comparison, "imagenet")[1.0].mean.value == pytest.approx(2 / 3 * distance)
    # Three seeds, three pairs of two.
    assert moved[0.1].pairs == pytest.approx([distance] * 3)
    assert moved[1.0].pairs == (0, 0, 0)


def test_average_of_distances_by_hand():
    def distances(*values: float) -> KsDistances:
        each = tuple(KsDistance(value=one, low=one - 0.1, high=one + 0.2) for one in values)
        return KsDistances(per_class=each, mean=each[0])

    mean_of_pairs = average([distances(0.2, 0.4), distances(0.4, 0.8)])
    assert [one.value for one in mean_of_pairs.per_class] == pytest.approx([0.3, 0.6])
    assert mean_of_pairs.pairs == (0.2, 0.4)
    assert (mean_of_pairs.mean.low, mean_of_pairs.mean.high) == pytest.approx((0.2, 0.5))
