"""The contrastive loss of MoCo.

Shapes: B batch, D feature size, K queue size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor
from torch.autograd.function import once_differentiable

# A block of the queue small enough that its logits stay in a core's cache while they are used.
_QUEUE_BLOCK = 4096


class InfoNCE(NamedTuple):
    """Contrastive loss and the two similarities that show whether it means anything."""

    loss: Tensor  # scalar, nats
    positive_similarity: Tensor  # scalar, mean cosine of each query with its own key; no gradient
    negative_similarity: Tensor  # scalar, mean cosine with the queue; no gradient


class _QueueLogSumExp(torch.autograd.Function):
    """Log of the summed exponentials of `query @ negatives.T / temperature`, row by row.

    The B x K logits are never stored: while a block of them is in cache, the sum and its gradient
    (the mean of the negatives, weighted by their softmax) are accumulated together, rescaled to a
    running maximum. At queue 65,536 this spares the logits' three trips through memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        negatives: Tensor,
        temperature: float,
        excluded: Callable[[slice], Tensor] | None,
    ) -> Tensor:
        maximum = query.new_full((len(query), 1), -torch.inf)
        total = query.new_zeros(len(query), 1)
        pulled = torch.zeros_like(query)
        for start in range(0, len(negatives), _QUEUE_BLOCK):
            block = slice(start, start + _QUEUE_BLOCK)
            logits = (query @ negatives[block].T).div_(temperature)
            if excluded is not None:
                logits.masked_fill_(excluded(block), -torch.inf)
            new_maximum = torch.maximum(maximum, logits.amax(1, keepdim=True))
            # A row all of whose negatives are excluded so far keeps -inf; exp(-inf - 0) is 0.
            shift = new_maximum.clamp_min(torch.finfo(query.dtype).min)
            rescale = torch.exp(maximum - shift)
            weights = logits.sub_(shift).exp_()
            total = total * rescale + weights.sum(1, keepdim=True)
            pulled = torch.addmm(pulled * rescale, weights, negatives[block])
            maximum = new_maximum
        ctx.save_for_backward(pulled / total.clamp_min(torch.finfo(query.dtype).tiny))
        ctx.temperature = temperature
        return (maximum + total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (pulled,) = ctx.saved_tensors
        return gradients[0].unsqueeze(1) * pulled / ctx.temperature, None, None, None


def info_nce(
    query: Tensor,
    key: Tensor,
    negatives: Tensor,
    temperature: float,
    *,
    query_ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
) -> InfoNCE:
    """Contrastive loss of MoCo: pick each image's own key out of 1 + K candidates.

    Args:
        query: Query projections, unit length, shape (B, D).
        key: Key projections of the same images in the same order, unit length, shape (B, D); no
            gradient.
        negatives: Queue contents, unit length, shape (K, D); no gradient.
        temperature: Divides the cosine similarities; above 0 (MoCo v1 0.07, v2 0.2).
        query_ids: Sample numbers of the queries, shape (B,). With `negative_ids`, old keys of the
            query's own image are left out of its negatives.
        negative_ids: Sample numbers of the queue's keys, shape (K,); -1 matches nothing.

    Returns:
        Mean loss in nats, scalar, 0 or more; log(K + 1) when all similarities are equal.

    Raises:
        ValueError: temperature is not above 0, or feature sizes differ.

    Source: He et al. 2020, arXiv:1911.05722, eq. 1.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if not query.shape[-1] == key.shape[-1] == negatives.shape[-1]:
        raise ValueError(
            "query, key and negatives differ in feature size: "
            f"{query.shape[-1]}, {key.shape[-1]}, {negatives.shape[-1]}"
        )
    excluded = None
    if query_ids is not None and negative_ids is not None:
        own, bank = query_ids.unsqueeze(1), negative_ids

        def excluded(block: slice) -> Tensor:
            return own == bank[block]

    # float32 throughout: bfloat16 logits at temperature 0.07 are wrong by up to 0.05 nats.
    with torch.autocast(query.device.type, enabled=False):
        query, key, negatives = query.float(), key.float(), negatives.float()
        positive = (query * key).sum(1)
        bank_logit = _QueueLogSumExp.apply(query, negatives, temperature, excluded)
        # cross entropy with target 0 over [positive, queue] = softplus(queue - positive)
        loss = F.softplus(bank_logit - positive / temperature).mean()
        with torch.no_grad():
            # the mean of all pairwise products is the product of the means
            negative_similarity = query.mean(0) @ negatives.mean(0)
    return InfoNCE(loss, positive.detach().mean(), negative_similarity)
