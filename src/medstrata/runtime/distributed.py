"""Batches joined over the processes of a run, with their gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _GatherWithGradient(torch.autograd.Function):
    """Concatenate over processes; the backward pass sums what each process asks of each part.

    With gradients averaged over the processes afterwards, as DistributedDataParallel does, a loss
    of the whole batch computed by every process has the same gradient as on one process.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        ctx.size = len(local)
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.size
        return total[start : start + ctx.size]


def gather(local: Tensor) -> Tensor:
    """Join a batch over the processes in rank order, shape (B, ...) -> (processes * B, ...)."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return local
    gathered: Tensor = _GatherWithGradient.apply(local)
    return gathered
