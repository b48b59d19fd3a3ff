"""A loss of your own on the intermediate stages."""

# --8<-- [start:loss]
import torch
from torch import Tensor, nn

from medstrata.models.pooling import global_average_pool
from medstrata.pretraining.losses import StageLoss


class SmoothL1(nn.Module):
    """Mean Huber distance of the pooled features of the two views."""

    def __init__(self, channels: int, *, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> what is compared, (B, C)."""
        return global_average_pool(maps)

    def forward(self, query: Tensor, key: Tensor) -> StageLoss:
        """The loss, and numbers that go into metrics.jsonl."""
        loss = nn.functional.smooth_l1_loss(query.float(), key.float(), beta=self.beta)
        return StageLoss(loss, {"largest": (query - key).abs().max().detach().float()})


# --8<-- [end:loss]

# --8<-- [start:try]
torch.manual_seed(0)
maps = torch.randn(8, 16, 4, 4, requires_grad=True)
loss = SmoothL1(16)
same = loss(loss.pool(maps), loss.pool(maps))
other = loss(loss.pool(maps), loss.pool(torch.randn(8, 16, 4, 4)))
other.loss.backward()
print(float(same.loss.detach()), float(other.loss.detach()))
# --8<-- [end:try]
assert float(same.loss.detach()) == 0 < float(other.loss.detach())

# --8<-- [start:train]
from medstrata.pretraining.losses import IntermediateLosses

weights = {"stage3": 0.5, "stage4": 0.5}
channels = {"stage3": 16, "stage4": 16}
losses = IntermediateLosses({name: SmoothL1(channels[name]) for name in weights}, weights)
total, by_stage = losses(
    losses.pool({"stage3": maps, "stage4": maps}), losses.pool({"stage3": maps, "stage4": maps})
)
print(float(total.detach()), {name: one.diagnostics for name, one in by_stage.items()})
# --8<-- [end:train]
