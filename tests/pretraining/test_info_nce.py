"""The contrastive loss against cross entropy, a value worked by hand, and its invariances."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from medstrata.pretraining import info_nce as contrastive
from medstrata.pretraining.info_nce import info_nce

BLOCK = 4096  # of the queue, as shipped


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(rows: int, size: int, seed: int = 0) -> Tensor:
    return F.normalize(normal(rows, size, seed=seed), dim=1)


def plain_info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ negatives.T], dim=1)
    target = torch.zeros(len(query), dtype=torch.int64)
    return F.cross_entropy(logits / temperature, target, reduction="none")


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.2, 1.0])
@pytest.mark.parametrize("queue_size", [1, 7, 8, 9, 16, 29])
def test_info_nce_equals_cross_entropy_over_all_logits(
    queue_size: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrastive, "_QUEUE_BLOCK", 8)  # below, at and above one block
    query, key = unit(5, 6).requires_grad_(), unit(5, 6, seed=1)
    negatives = unit(queue_size, 6, seed=2)
    double = query.detach().double().requires_grad_()

    result = info_nce(query, key, negatives, temperature)
    result.loss.backward()
    expected = plain_info_nce(double, key.double(), negatives.double(), temperature).mean()
    expected.backward()

    torch.testing.assert_close(result.loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(query.grad.double(), double.grad, rtol=1e-4, atol=1e-5)
    pairs = query @ negatives.T
    torch.testing.assert_close(result.negative_similarity, pairs.detach().mean())
    torch.testing.assert_close(result.positive_similarity, (query * key).sum(1).detach().mean())
    assert not result.positive_similarity.requires_grad
    assert not result.negative_similarity.requires_grad


def test_info_nce_over_a_queue_of_several_blocks_and_a_rest() -> None:
    query, key, negatives = unit(3, 16).requires_grad_(), unit(3, 16, 1), unit(2 * BLOCK + 5, 16, 2)
    assert contrastive._QUEUE_BLOCK == BLOCK
    loss = info_nce(query, key, negatives, 0.07).loss
    expected = plain_info_nce(query, key, negatives, 0.07).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(loss, query), torch.autograd.grad(expected, query), rtol=1e-4, atol=1e-5
    )


def test_info_nce_by_hand() -> None:
    # Similarities 1 | 0, -1; over temperature 0.5: 2 | 0, -2.
    # Loss = log(e^2 + e^0 + e^-2) - 2 = log(1 + e^-2 + e^-4) = log(1.153651) = 0.142932.
    query = torch.tensor([[1.0, 0.0]])
    result = info_nce(query, query, torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), 0.5)
    assert result.loss.item() == pytest.approx(0.142932, abs=1e-6)
    assert result.positive_similarity.item() == 1.0
    assert result.negative_similarity.item() == -0.5


@pytest.mark.parametrize("queue_size", [1, 10, BLOCK + 1])
def test_info_nce_is_log_of_candidates_at_equal_similarities(queue_size: int) -> None:
    query = unit(1, 4).expand(3, 4)
    loss = info_nce(query, query, query[:1].expand(queue_size, 4), 0.07).loss
    assert loss.item() == pytest.approx(math.log(queue_size + 1), rel=1e-5)


def test_info_nce_ignores_rotation_and_the_order_of_queue_and_batch() -> None:
    query, key, negatives = unit(4, 6), unit(4, 6, 1), unit(9, 6, 2)
    rotation = torch.linalg.qr(normal(6, 6, seed=3)).Q
    loss = info_nce(query, key, negatives, 0.2).loss
    for changed in (
        info_nce(query @ rotation, key @ rotation, negatives @ rotation, 0.2),
        info_nce(query, key, negatives.flip(0), 0.2),
        info_nce(query.flip(0), key.flip(0), negatives, 0.2),
    ):
        torch.testing.assert_close(changed.loss, loss)
    assert not torch.isclose(info_nce(query, key.flip(0), negatives, 0.2).loss, loss)


def test_info_nce_gradient_equals_finite_differences_and_stops_at_the_queue() -> None:
    query, key = unit(4, 6).requires_grad_(), unit(4, 6, 1)
    negatives, direction = unit(9, 6, 2).requires_grad_(), normal(4, 6, seed=3)
    info_nce(query, key, negatives, 0.2).loss.backward()
    with torch.no_grad():
        up, down = (
            info_nce(query + step * direction, key, negatives, 0.2).loss for step in (1e-2, -1e-2)
        )
    slope = ((up - down) / 2e-2).item()
    assert (query.grad * direction).sum().item() == pytest.approx(slope, rel=1e-2)
    assert negatives.grad is None


@pytest.mark.parametrize("block", [2, BLOCK])
def test_excluding_own_ids_equals_deleting_those_negatives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        contrastive, "_QUEUE_BLOCK", block
    )  # 2: whole blocks are excluded, first too
    query, key, negatives = unit(4, 6), unit(4, 6, 1), unit(9, 6, 2)
    ids, negative_ids = torch.tensor([3, 5, 7, 9]), torch.tensor([3, 3, 5, -1, 3, 8, 9, 5, -1])
    query.requires_grad_()
    loss = info_nce(query, key, negatives, 0.2, query_ids=ids, negative_ids=negative_ids).loss
    expected = torch.cat(
        [
            plain_info_nce(query[[row]], key[[row]], negatives[negative_ids != ids[row]], 0.2)
            for row in range(4)
        ]
    ).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, query), torch.autograd.grad(expected, query)
    )


def test_a_query_without_negatives_costs_nothing_and_pulls_nothing() -> None:
    query, key, negatives = unit(2, 6).requires_grad_(), unit(2, 6, 1), unit(5, 6, 2)
    options = {"query_ids": torch.tensor([4, 4]), "negative_ids": torch.full((5,), 4)}
    loss = info_nce(query, key, negatives, 0.07, **options).loss
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_info_nce_is_float32_whatever_it_is_given() -> None:
    query, key, negatives = (
        unit(rows, 32, seed).bfloat16() for seed, rows in enumerate((4, 4, 50))
    )
    loss = info_nce(query.float(), key.float(), negatives.float(), 0.07).loss
    assert torch.equal(info_nce(query, key, negatives, 0.07).loss, loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(info_nce(query.float(), key, negatives, 0.07).loss, loss)


def test_info_nce_refuses_what_has_no_meaning() -> None:
    query = unit(2, 6)
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        info_nce(query, query, query, 0)
    with pytest.raises(ValueError, match="differ in feature size: 6, 6, 5"):
        info_nce(query, query, unit(3, 5), 0.2)
