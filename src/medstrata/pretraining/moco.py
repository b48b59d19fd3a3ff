"""Momentum contrast: a query encoder, its slowly moving copy, and a queue of the copy's keys.

Forward changes nothing but BatchNorm's running averages. The two other changes of state,
`update_key_encoder` and `Queue.enqueue`, are lines of the training loop, so that evaluating a model
can touch neither.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medstrata.models.backbones import Backbone, Features
from medstrata.pretraining.info_nce import info_nce
from medstrata.pretraining.losses import IntermediateLosses, StageLoss


class EncoderWithHead(nn.Module):
    """A backbone and the projection head that contrasts its pooled features.

    Args:
        backbone: The network that is kept.
        head_size: Size D of the projections.
        hidden_layers: 0 for MoCo v1's single linear layer, 1 for v2's MLP, whose hidden layer is
            as wide as the pooled features.
    """

    def __init__(self, backbone: Backbone, *, head_size: int, hidden_layers: int) -> None:
        super().__init__()
        width = backbone.embed_dim
        hidden = [
            layer for _ in range(hidden_layers) for layer in (nn.Linear(width, width), nn.ReLU())
        ]
        self.backbone = backbone
        self.head = nn.Sequential(*hidden, nn.Linear(width, head_size))

    def forward(self, images: Tensor) -> tuple[Tensor, Features]:
        """Projections of unit length, shape (B, D), and the backbone's features."""
        features: Features = self.backbone(images)
        return F.normalize(self.head(features.pooled).float(), dim=1), features


class Queue(nn.Module):
    """Ring buffer of the last keys and of the sample numbers they came from.

    Any size goes with any batch: a batch that reaches the end goes on at the start.

    Args:
        size: Keys kept, K.
        head_size: Size D of a key.
        generator: Source of the random unit vectors it starts with.
    """

    keys: Tensor  # (K, D), unit length
    ids: Tensor  # (K,), sample numbers, -1 for the random start
    pointer: Tensor  # scalar, where the next key goes

    def __init__(self, size: int, head_size: int, *, generator: torch.Generator) -> None:
        super().__init__()
        start = torch.randn(size, head_size, generator=generator)
        self.register_buffer("keys", F.normalize(start, dim=1))
        self.register_buffer("ids", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor, ids: Tensor) -> None:
        """Replace the oldest keys by these, shape (B, D); of more than K only the last K stay."""
        size = len(self.keys)
        keys, ids = keys[-size:], ids[-size:]
        places = (self.pointer + torch.arange(len(keys), device=self.keys.device)) % size
        self.keys[places] = keys.to(self.keys.dtype)
        self.ids[places] = ids
        self.pointer.copy_((self.pointer + len(keys)) % size)


class Loss(NamedTuple):
    """One step's loss, its parts, and what the loop needs to go on."""

    total: Tensor  # scalar
    contrastive: Tensor  # scalar, nats
    intermediate: dict[str, StageLoss]  # per stage, unweighted
    positive_similarity: Tensor
    negative_similarity: Tensor
    key: Tensor  # (B, D), this process's keys, to be enqueued


def _local(pooled: Tensor) -> Tensor:
    """One process: the local batch is the whole batch."""
    return pooled


class MoCo(nn.Module):
    """The two encoders and the intermediate losses, up to the loss of one step.

    Args:
        encoder: The query encoder; the key encoder starts as its copy.
        intermediate: Losses on the stages; one without stages gives plain MoCo.
        temperature: Of the contrastive loss.
        key_sub_batches: With BatchNorm, query and key of an image normalised by the statistics
            of the same batch betray each other. From 2 on, the key batch is shuffled and passed
            in this many parts with statistics of their own, as several GPUs would (MoCo,
            section 3.3); 1 is off.
        gather: Joins pooled features over the processes, keeping the gradient.
    """

    def __init__(
        self,
        encoder: EncoderWithHead,
        intermediate: IntermediateLosses,
        *,
        temperature: float,
        key_sub_batches: int,
        gather: Callable[[Tensor], Tensor] = _local,
    ) -> None:
        super().__init__()
        self.query_encoder = encoder
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.intermediate = intermediate
        self.temperature = temperature
        self.key_sub_batches = key_sub_batches
        self.gather = gather

    def forward(
        self,
        query_view: Tensor,
        key_view: Tensor,
        negatives: Tensor,
        *,
        shuffle: Tensor,
        ids: Tensor | None = None,
        negative_ids: Tensor | None = None,
    ) -> Loss:
        """Loss of a batch; changes nothing but BatchNorm's running averages.

        Args:
            query_view: First view of each image, shape (B, channels, H, W).
            key_view: Second view of the same images in the same order.
            negatives: The queue's keys, shape (K, D).
            shuffle: A permutation of the batch, shape (B,), for the key's sub-batches.
            ids: Sample numbers, shape (B,), to leave an image's own old keys out.
            negative_ids: Sample numbers of the queue, shape (K,).

        Source: He et al. 2020, arXiv:1911.05722, algorithm 1; Kaku et al. 2021, section 3.
        """
        query, query_features = self.query_encoder(query_view)
        query_taps = self.intermediate.pool(query_features.stages)
        with torch.no_grad():
            key, key_taps = self._keys(key_view, shuffle)
        contrastive = info_nce(
            query, key, negatives, self.temperature, query_ids=ids, negative_ids=negative_ids
        )
        intermediate, stage_losses = self.intermediate(
            {stage: self.gather(tap) for stage, tap in query_taps.items()},
            {stage: self.gather(tap) for stage, tap in key_taps.items()},
        )
        return Loss(
            total=contrastive.loss + intermediate,
            contrastive=contrastive.loss.detach(),
            intermediate=stage_losses,
            positive_similarity=contrastive.positive_similarity,
            negative_similarity=contrastive.negative_similarity,
            key=key,
        )

    def _keys(self, view: Tensor, shuffle: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Keys and pooled taps in the order of `view`, whatever the shuffling."""
        if self.key_sub_batches == 1:
            key, features = self.key_encoder(view)
            return key, self.intermediate.pool(features.stages)
        restore = torch.argsort(shuffle)
        keys, taps = [], []
        for part in shuffle.tensor_split(self.key_sub_batches):
            key, features = self.key_encoder(view[part])
            keys.append(key)
            taps.append(self.intermediate.pool(features.stages))
        return torch.cat(keys)[restore], {
            stage: torch.cat([tap[stage] for tap in taps])[restore] for stage in taps[0]
        }


@torch.no_grad()
def update_key_encoder(model: MoCo, momentum: float) -> None:
    """Move the key encoder's parameters toward the query encoder's: k <- m k + (1 - m) q.

    Buffers (BatchNorm's running averages) stay the key encoder's own.

    Source: He et al. 2020, arXiv:1911.05722, eq. 2.
    """
    torch._foreach_lerp_(  # the fused form that the optimizers use
        list(model.key_encoder.parameters()),
        list(model.query_encoder.parameters()),
        1 - momentum,
    )
