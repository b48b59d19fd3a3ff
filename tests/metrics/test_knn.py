"""Votes of nearest neighbours, against a plain loop."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from medstrata.metrics import knn
from medstrata.metrics.knn import knn_probabilities, nearest, neighbour_probabilities


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks smaller than the queries of these tests."""
    monkeypatch.setattr(knn, "_BLOCK", 3)


@pytest.fixture
def screening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates by bfloat16, on any processor and at any size; blocks of some size."""
    monkeypatch.setattr(knn, "_BLOCK", 64)
    monkeypatch.setattr(knn, "_SCREEN_FROM", 1)
    monkeypatch.setattr(knn, "processor_has_native_bf16", lambda: True)


def test_neighbours_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    bank, queries = torch.randn(30, 6), torch.randn(5, 6)
    labels = torch.eye(3)[torch.arange(30) % 3]
    values = neighbour_probabilities(bank, labels, queries, neighbours=7)
    for query, value in zip(queries, values, strict=True):
        cosine = torch.nn.functional.cosine_similarity(bank, query[None])
        nearest = cosine.argsort(descending=True)[:7]
        votes = torch.exp(cosine[nearest] / 0.07)
        expected = (votes[:, None] * labels[nearest]).sum(0) / votes.sum()
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


def test_an_image_in_the_bank_is_its_own_best_neighbour() -> None:
    bank = torch.eye(4)
    values = neighbour_probabilities(bank, torch.eye(4), bank, neighbours=1)
    torch.testing.assert_close(values, torch.eye(4))


@pytest.mark.parametrize(("kind", "classes"), [("binary", 2), ("multiclass", 3), ("ordinal", 3)])
def test_classes_against_scikit_learn(kind: str, classes: int) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    generator = np.random.default_rng(0)
    bank, queries = (generator.normal(size=(n, 6)).astype(np.float32) for n in (40, 10))
    targets = generator.permutation(np.arange(40) % classes)
    ours = knn_probabilities(bank, targets, queries, kind, classes, neighbours=9, temperature=0.5)  # type: ignore[arg-type]
    theirs = KNeighborsClassifier(
        9, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.5)
    )
    expected = theirs.fit(bank, targets).predict_proba(queries)
    np.testing.assert_allclose(ours, expected[:, 1:] if kind == "binary" else expected, atol=1e-5)


def test_each_of_several_labels_is_voted_on_by_those_who_know_it() -> None:
    generator = np.random.default_rng(0)
    bank, queries = (generator.normal(size=(n, 6)).astype(np.float32) for n in (40, 10))
    targets = generator.integers(0, 2, (40, 3)).astype(np.float32)
    targets[::3, 0] = np.nan
    targets[:, 2] = np.nan
    values = knn_probabilities(bank, targets, queries, "multilabel", 3, neighbours=5)
    for label in (0, 1):
        has = ~np.isnan(targets[:, label])
        alone = knn_probabilities(
            bank[has], targets[has, label].astype(int), queries, "binary", 2, neighbours=5
        )
        np.testing.assert_allclose(values[:, label], alone[:, 0], atol=1e-6)
    assert (values[:, 2] == 0.5).all()


@pytest.mark.parametrize("group_size", [1, 3])
def test_nearest_against_a_plain_loop(group_size: int) -> None:
    features = np.random.default_rng(0).normal(size=(21, 5)).astype(np.float32)
    groups = np.arange(21) // group_size
    places, cosines = nearest(features, groups, 4)
    for place in range(21):
        cosine = [
            float(features[place] @ other / np.linalg.norm(features[place]) / np.linalg.norm(other))
            for other in features
        ]
        others = [i for i in range(21) if groups[i] != groups[place]]
        expected = sorted(others, key=lambda other: -cosine[other])[:4]
        assert places[place].tolist() == expected
        np.testing.assert_allclose(cosines[place], [cosine[i] for i in expected], atol=1e-5)


def test_nearest_when_the_other_groups_are_few() -> None:
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    places, cosines = nearest(features, np.array([0, 0, 0, 0, 1]), 9)
    assert places.shape == (5, 4)
    assert np.isfinite(cosines).sum(axis=1).tolist() == [1, 1, 1, 1, 4]
    assert (places[:4, 0] == 4).all()


def gaussian(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(400, 32))


def positive(generator: np.random.Generator) -> np.ndarray:
    return np.maximum(gaussian(generator) + 0.5, 0)


def duplicated(generator: np.random.Generator) -> np.ndarray:
    """Each image 40 times: more ties than candidates."""
    return gaussian(generator)[:10].repeat(40, axis=0)


def nearly_duplicated(generator: np.random.Generator) -> np.ndarray:
    """Differences far below the steps of bfloat16."""
    return duplicated(generator) + 1e-4 * gaussian(generator)


def alike(generator: np.random.Generator) -> np.ndarray:
    return 1 + 1e-3 * gaussian(generator)


MADE = [gaussian, positive, duplicated, nearly_duplicated, alike]


@pytest.mark.usefixtures("screening")
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("group_size", [1, 3])
def test_screening_finds_the_neighbours_of_float64(
    make: Callable[[np.random.Generator], np.ndarray], group_size: int
) -> None:
    features = make(np.random.default_rng(0)).astype(np.float32)
    groups = np.arange(len(features)) // group_size
    unit = features / np.linalg.norm(features.astype(np.float64), axis=1)[:, None]
    exact = unit @ unit.T
    exact[groups[:, None] == groups] = -np.inf
    places, cosines = nearest(features, groups, 6)
    found = np.take_along_axis(exact, places, axis=1)
    # Ties may go either way: the cosines of the neighbours are what must be the greatest.
    np.testing.assert_allclose(found, -np.sort(-exact, axis=1)[:, :6], atol=5e-7)
    np.testing.assert_allclose(cosines, found, atol=5e-7)
    assert all(len(set(row)) == 6 for row in places.tolist())


@pytest.mark.usefixtures("screening")
def test_screening_where_few_images_are_not_hidden() -> None:
    features = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    groups = np.where(np.arange(200) < 197, 0, np.arange(200))
    places, cosines = nearest(features, groups, 5)
    assert np.isfinite(cosines[:197]).sum(axis=1).tolist() == [3] * 197
    assert all(sorted(row[:3]) == [197, 198, 199] for row in places[:197].tolist())


def test_the_error_of_screening_is_bounded_as_it_says() -> None:
    """A query between two images that bfloat16 puts in the wrong order is not called certain."""
    torch.manual_seed(0)
    bank = torch.nn.functional.normalize(torch.randn(2000, 1024), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(300, 1024), dim=1)
    cosine = (queries.double() @ bank.double().T).float()
    mean, features = bank.mean(0), (bank - bank.mean(0)).bfloat16()
    lost = float((bank - mean - features.float()).norm(dim=1).max())
    coarse = knn._Coarse(features, float(features.float().norm(dim=1).max()), lost)
    _, places, certain = knn._screened(queries, bank, coarse, 5, None)
    assert 0.3 < certain.float().mean() < 1  # both kinds are among them
    exact = cosine.topk(5).indices
    assert torch.equal(places[certain].sort(1).values, exact[certain].sort(1).values)
