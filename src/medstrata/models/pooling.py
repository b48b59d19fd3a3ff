"""Maps of a stage to one value a channel."""

import torch
from torch import Tensor


def global_average_pool(maps: Tensor) -> Tensor:
    """Mean over positions, shape (B, C, H, W) -> (B, C).

    In channels-last memory, where position is the slow axis, the mean is one batched product
    with a constant row; `mean((2, 3))` walks it against the grain (docs/results/performance.md).
    """
    if maps.is_contiguous(memory_format=torch.channels_last) and maps.shape[1] > 1:
        positions = maps.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, C), no copy
        # Ones are exact in bfloat16, 1/49 is not.
        row = positions.new_ones((1, 1, positions.shape[1]))
        return torch.matmul(row, positions).squeeze(1) / positions.shape[1]
    return maps.flatten(2).mean(-1)
