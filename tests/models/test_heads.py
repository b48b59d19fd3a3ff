"""Heads and their losses for every kind of task."""

import math

import pytest
import torch

from medstrata.models.heads import (
    LinearHead,
    class_weights,
    num_outputs,
    probabilities,
    task_loss,
)


def test_outputs_of_each_kind() -> None:
    assert [num_outputs(kind, 5) for kind in ("binary", "multiclass", "multilabel", "ordinal")] == [
        1,
        5,
        5,
        4,
    ]


def test_binary_by_hand() -> None:
    # -log(sigmoid(ln 3)) = -log(3/4) and -log(1 - sigmoid(0)) = log 2
    loss = task_loss(torch.tensor([[math.log(3)], [0.0]]), torch.tensor([1, 0]), "binary")
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_multilabel_masks_unknown_labels() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    targets = torch.tensor([[1.0, math.nan], [math.nan, math.nan], [0.0, 1.0]])
    loss = task_loss(logits, targets, "multilabel")
    known = [(logits[0, 0], 1.0), (logits[2, 0], 0.0), (logits[2, 1], 1.0)]
    by_hand = [
        -(y * torch.log(torch.sigmoid(z)) + (1 - y) * torch.log(1 - torch.sigmoid(z)))
        for z, y in known
    ]
    assert loss.item() == pytest.approx(float(sum(by_hand).detach()) / 3, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[1], torch.zeros(2))
    assert logits.grad[0, 1] == 0
    assert task_loss(logits, torch.full((3, 2), math.nan), "multilabel").item() == 0


def test_ordinal_by_hand() -> None:
    # Grade 1 of 0..2: above 0 yes, above 1 no; both logits 0 cost log 2 each.
    assert task_loss(torch.zeros(1, 2), torch.tensor([1]), "ordinal").item() == pytest.approx(
        math.log(2)
    )
    far = torch.tensor([[9.0, -9.0]])
    assert task_loss(far, torch.tensor([1]), "ordinal") < task_loss(
        far, torch.tensor([2]), "ordinal"
    )


def test_ordinal_probabilities_are_a_distribution_even_for_crossed_logits() -> None:
    # P(>0) = .5, P(>1) = .9 is impossible: it is lowered to .5, so that P = (.5, 0, .5).
    crossed = torch.tensor([[0.0, math.log(9)]])
    torch.testing.assert_close(probabilities(crossed, "ordinal"), torch.tensor([[0.5, 0.0, 0.5]]))
    values = probabilities(torch.randn(50, 4), "ordinal")
    torch.testing.assert_close(values.sum(1), torch.ones(50))
    assert (values >= 0).all()


@pytest.mark.parametrize(("kind", "width"), [("binary", 1), ("multiclass", 3), ("multilabel", 3)])
def test_probabilities_have_the_metrics_shape(kind: str, width: int) -> None:
    values = probabilities(torch.randn(4, width), kind)  # type: ignore[arg-type]
    assert values.shape == (4, width)
    assert ((values >= 0) & (values <= 1)).all()


def test_head_standardises() -> None:
    weight, bias = torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])
    features = torch.tensor([[3.0, 4.0]])
    assert LinearHead(weight, bias)(features).item() == 2.5
    mean, std = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])
    assert LinearHead(weight, bias, mean, std)(features).item() == 2 * 1 - 0.5 + 0.5
    folded = LinearHead(weight, bias, mean, std).folded()
    assert folded.mean is None
    assert folded(features).item() == pytest.approx(2 * 1 - 0.5 + 0.5)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_balanced_weights_count_every_class_alike(kind: str) -> None:
    """The weighted loss of a skewed batch is the mean over classes of the plain loss of each."""
    targets = torch.tensor([0] * 9 + [1])
    logits = torch.randn(10, {"binary": 1, "multiclass": 2, "ordinal": 1}[kind])
    weights = class_weights(targets, kind, 2)  # type: ignore[arg-type]
    by_class = [
        task_loss(logits[targets == value], targets[targets == value], kind)  # type: ignore[arg-type]
        for value in (0, 1)
    ]
    weighted = task_loss(logits, targets, kind, weights)  # type: ignore[arg-type]
    torch.testing.assert_close(weighted, torch.stack(by_class).mean())


def test_balanced_weights_of_several_labels_are_each_labels_own() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, math.nan], [0.0, 1.0]])
    weights = class_weights(targets, "multilabel", 2)
    torch.testing.assert_close(weights, torch.tensor([[4 / 6, 2.0], [0.75, 1.5]]))
    assert class_weights(torch.zeros(3, 1), "multilabel", 1).tolist() == [[1.0, 0.0]]
