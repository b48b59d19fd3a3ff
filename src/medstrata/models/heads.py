"""What a label kind asks of a classifier: outputs, loss, probabilities.

Shapes: B batch, N samples, L labels or classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from medstrata.metrics.kinds import TaskKind


class LinearHead(NamedTuple):
    """A fitted linear layer on pooled features, of D dimensions."""

    weight: Tensor  # (outputs, D)
    bias: Tensor  # (outputs,)
    mean: Tensor | None = None  # (D,), subtracted from the features first; None is 0
    std: Tensor | None = None  # (D,), divides them afterwards; None is 1

    def folded(self) -> "LinearHead":
        """The same layer on the features themselves: mean and std within weight and bias."""
        if self.mean is None or self.std is None:
            return self
        weight = self.weight / self.std
        return LinearHead(weight, self.bias - weight @ self.mean)

    def __call__(self, features: Tensor) -> Tensor:
        """Logits, shape (B, outputs), of features of shape (B, D)."""
        if self.mean is not None and self.std is not None:
            features = (features - self.mean) / self.std
        return F.linear(features, self.weight, self.bias)


def num_outputs(kind: TaskKind, classes: int) -> int:
    """Logits a task needs: 1 for binary, one fewer than classes for ordinal, else one a class."""
    match kind:
        case "binary":
            return 1
        case "ordinal":
            return classes - 1
        case "multiclass" | "multilabel":
            return classes


def task_loss(
    logits: Tensor, targets: Tensor, kind: TaskKind, weights: Tensor | None = None
) -> Tensor:
    """Mean loss in nats over the known labels.

    Args:
        logits: Shape (B, outputs).
        targets: Classes (B,) as int64; for multi-label 0, 1 or NaN (unknown), shape (B, L).
        kind: Binary and multi-label take sigmoids, multi-class a softmax, ordinal one sigmoid for
            each "is the grade above k" (Niu et al. 2016, CVPR, section 3.2).
        weights: As `class_weights` gives them; None weighs all alike.

    Returns:
        Scalar; 0 with no gradient effect when every label of a multi-label batch is unknown.
    """
    if kind == "multiclass":
        each = F.cross_entropy(logits, targets, reduction="none")
    else:
        wanted = targets.to(logits.dtype)
        if kind == "ordinal":
            steps = torch.arange(logits.shape[1], device=logits.device)
            wanted = (targets[:, None] > steps).to(logits.dtype)
        elif kind == "binary":
            wanted = wanted[:, None]
        each = F.binary_cross_entropy_with_logits(
            logits, torch.nan_to_num(wanted), reduction="none"
        )
        if kind != "multilabel":
            each = each.mean(dim=1)
    if kind != "multilabel":
        return each.mean() if weights is None else (each * weights.to(each)[targets]).mean()
    known = ~torch.isnan(targets)
    if weights is not None:
        each = each * torch.where(targets == 1, weights[:, 1].to(each), weights[:, 0].to(each))
    return (each * known).sum() / known.sum().clamp_min(1)


def class_weights(targets: Tensor, kind: TaskKind, classes: int) -> Tensor:
    """Weights that give every class the same part in the loss, of mean 1 over the images.

    Args:
        targets: As for `task_loss`, of all training images.
        kind: As for `task_loss`.
        classes: Classes, or the labels of a multi-label task.

    Returns:
        Shape (classes,), or for multi-label (L, 2): of a 0 and of a 1 of each label. A class
        without an image weighs 0.
    """
    if kind == "multilabel":
        counts = torch.stack([(targets == value).sum(0) for value in (0, 1)], dim=1).double()
    else:
        counts = torch.bincount(targets, minlength=classes).double()
    present = (counts > 0).sum(-1, keepdim=True).clamp_min(1)
    total = counts.sum(-1, keepdim=True)
    return torch.where(counts > 0, total / (present * counts.clamp_min(1)), 0.0).float()


def probabilities(logits: Tensor, kind: TaskKind) -> Tensor:
    """Probabilities as the metrics read them, shape (N, 1) for binary, else (N, classes).

    Ordinal: P(grade > k) is made to fall with k, then differenced, so that each row sums to 1.
    """
    match kind:
        case "multiclass":
            return torch.softmax(logits, dim=1)
        case "ordinal":
            above = torch.sigmoid(logits).cummin(dim=1).values
            edge = above.new_ones(len(above), 1)
            return torch.cat([edge, above], dim=1) - torch.cat([above, 0 * edge], dim=1)
        case _:
            return torch.sigmoid(logits)
