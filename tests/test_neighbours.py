import numpy as np
import pytest
import torch

from medstrata import neighbours
from medstrata.neighbours import knn_probabilities, nearest, neighbour_probabilities


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks smaller than the queries of these tests."""
    monkeypatch.setattr(neighbours, "_BLOCK", 3)


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
