"""Random numbers by counter, against a plain version of the generator."""

import numpy as np
import pytest

from medstrata.runtime.randomness import (
    Stream,
    derive_seed,
    permutation,
    uniforms,
    windowed_permutation,
)

WORD = 2**64
A, B = Stream.VIEWS, Stream.SPLIT
GOLDEN = 0x9E3779B97F4A7C15


def plain_mix(word: int) -> int:
    """SplitMix64's output function in Python's own integers."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % WORD
    return word ^ (word >> 31)


def plain_state(*coordinates: int) -> int:
    state = 0
    for coordinate in coordinates:
        state = plain_mix(((state + GOLDEN) % WORD) ^ plain_mix((coordinate + GOLDEN) % WORD))
    return state


def plain_uniforms(count: int, *coordinates: int) -> list[float]:
    state = plain_state(*coordinates)
    return [(plain_mix((state + GOLDEN * i) % WORD) >> 11) * 2**-53 for i in range(1, count + 1)]


def test_plain_version_is_splitmix64():
    # The first outputs of the reference implementation with seed 0.
    outputs = [plain_mix(GOLDEN * i % WORD) for i in (1, 2, 3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("coordinates", [(), (0,), (0, 0), (7, 3, 123_456, 1), (-5, 2**63 - 1)])
def test_uniforms_equal_the_plain_version(coordinates: tuple[int, ...]):
    np.testing.assert_array_equal(
        uniforms(5, A, *coordinates)[0], plain_uniforms(5, A, *coordinates)
    )


def test_values_are_pinned_for_ever():
    # These numbers decide crops, orders and splits of finished runs: they may never change.
    np.testing.assert_array_equal(
        uniforms(2, A, 1, 2, 3), [[0.47895931201168795, 0.8693458508774456]]
    )
    assert permutation(8, A, 5).tolist() == [1, 4, 2, 0, 5, 3, 7, 6]
    assert derive_seed(A, 1, 2, 3) == 4502544533399121719


def test_an_array_gives_the_rows_that_its_entries_give_alone():
    rows = np.array([11, 4, 11, 900_000])
    together = uniforms(3, A, 1, rows, 2)
    assert together.shape == (4, 3)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(together[i], uniforms(3, A, 1, int(row), 2)[0])


def test_more_numbers_keep_the_first_ones():
    np.testing.assert_array_equal(uniforms(9, A, 3, 1)[:, :4], uniforms(4, A, 3, 1))


def test_uniforms_are_uniform_and_independent():
    numbers = uniforms(4, A, 0, np.arange(20_000), 0)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    grid = (np.arange(20_000) + 0.5) / 20_000
    distance = np.abs(np.sort(numbers, axis=0) - grid[:, None]).max()
    assert distance < 1.95 / np.sqrt(20_000)  # Kolmogorov-Smirnov, 0.1 % level
    neighbours = np.concatenate([numbers[:-1], numbers[1:]], axis=1)
    correlation = np.corrcoef(neighbours.T) - np.eye(8)
    assert np.abs(correlation).max() < 4 / np.sqrt(20_000)


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0), (0, 0, 0, 0)])
def test_every_coordinate_and_their_number_matter(other: tuple[int, ...]):
    assert not np.isin(uniforms(100, A, *other), uniforms(100, A, 0, 0, 0)).any()


def test_streams_do_not_meet() -> None:
    assert len({*Stream}) == len(Stream.__members__)
    assert not np.isin(uniforms(100, A, 0, 1), uniforms(100, B, 0, 1)).any()
    assert (permutation(100, A, 0) != permutation(100, B, 0)).any()
    assert derive_seed(A, 0) != derive_seed(B, 0)


def test_the_order_of_coordinates_matters():
    assert uniforms(1, A, 1, 2) != uniforms(1, A, 2, 1)
    assert uniforms(1, A, 0, 5) != uniforms(1, A, 5, 0)


@pytest.mark.parametrize("length", [0, 1, 2, 1000])
def test_permutation_holds_each_number_once(length: int):
    order = permutation(length, A, 3, 1)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(length))
    np.testing.assert_array_equal(order, permutation(length, A, 3, 1))


def test_permutation_puts_every_number_everywhere():
    orders = np.stack([permutation(6, A, seed) for seed in range(3000)])
    counts = np.stack([np.bincount(orders[:, place], minlength=6) for place in range(6)])
    assert np.abs(counts - 500).max() < 4.5 * np.sqrt(500 * 5 / 6)


def test_derived_seeds_fit_a_signed_word_and_differ():
    seeds = [derive_seed(A, 0, i) for i in range(1000)]
    assert len(set(seeds)) == 1000
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert max(seeds) > 2**62
    assert seeds[3] == plain_state(A, 0, 3) >> 1
    uniforms(1, A, seeds[0])  # a derived seed is a coordinate again


def test_global_generator_is_left_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - the point of the test
    uniforms(4, A, 1)
    permutation(10, A, 1)
    derive_seed(A, 1)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_windowed_permutation_opens_few_groups_at_a_time() -> None:
    groups = np.repeat(np.arange(50), 40)
    order = windowed_permutation(groups, 5, 7, 0)
    assert sorted(order) == list(range(2000))
    met = [len(np.unique(groups[order[start : start + 40]])) for start in range(0, 2000, 40)]
    assert 4 <= min(met) <= max(met) <= 7
    # a member meets those of the groups beside it in about equal shares
    together = groups[order[1000:1200]]
    assert np.bincount(together).max() < 0.4 * len(together)


def test_windowed_permutation_is_a_function_of_its_coordinates() -> None:
    groups = np.repeat(np.arange(10), 7)
    first = windowed_permutation(groups, 3, 1, 2)
    np.testing.assert_array_equal(first, windowed_permutation(groups, 3, 1, 2))
    assert (first != windowed_permutation(groups, 3, 1, 3)).any()
    assert (first != windowed_permutation(groups, 3, 2, 2)).any()


def test_a_wide_window_mixes_everything() -> None:
    groups = np.repeat(np.arange(10), 100)
    order = windowed_permutation(groups, 99, 0, 0)
    place = np.argsort(order).reshape(10, 100)
    assert np.abs(place.mean(axis=1) - 499.5).max() < 120  # deviation of a mean is 29
    assert place.std(axis=1).min() > 250
