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


def task_loss(logits: Tensor, targets: Tensor, kind: TaskKind) -> Tensor:
    """Mean loss in nats over the known labels.

    Args:
        logits: Shape (B, outputs).
        targets: Classes (B,) as int64; for multi-label 0, 1 or NaN (unknown), shape (B, L).
        kind: Binary and multi-label take sigmoids, multi-class a softmax, ordinal one sigmoid for
            each "is the grade above k" (Niu et al. 2016, CVPR, section 3.2).

    Returns:
        Scalar; 0 with no gradient effect when every label of a multi-label batch is unknown.
    """
    match kind:
        case "binary":
            return F.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
        case "multiclass":
            return F.cross_entropy(logits, targets)
        case "ordinal":
            above = targets[:, None] > torch.arange(logits.shape[1], device=logits.device)
            return F.binary_cross_entropy_with_logits(logits, above.float())
        case "multilabel":
            known = ~torch.isnan(targets)
            each = F.binary_cross_entropy_with_logits(
                logits, torch.nan_to_num(targets), reduction="none"
            )
            return (each * known).sum() / known.sum().clamp_min(1)


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
