"""What the training step is measured against: other programs' MoCo, each as its authors show it."""

import copy
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import timm
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from harness import cpu_precision
from medstrata.runtime.devices import has_native_bf16, keep_freed_memory

HEAD = 128  # size of a key, everywhere
TEMPERATURE, MOMENTUM = 0.2, 0.999


class Case(NamedTuple):
    """A size at which programs are compared."""

    backbone: str
    size: int  # pixels a side
    batch: int
    queue: int

    @property
    def name(self) -> str:
        """Of its result file, without the benchmark's."""
        return f"{self.backbone}-{self.size}-{self.batch}-{self.queue}"

    @property
    def words(self) -> str:
        """As the page says it."""
        names = {"resnet": "ResNet-", "convnext_tiny": "ConvNeXt-Tiny"}
        shown = {"vit_small_patch16_224": "ViT-S/16"}.get(self.backbone, self.backbone)
        for old, new in names.items():
            shown = shown.replace(old, new)
        return f"{shown}, {self.size} px, {self.batch}"


class Manner(NamedTuple):
    """How a peer is run."""

    fast: bool  # bfloat16 where native, and channels-last memory
    keep_memory: bool  # the allocator told to keep freed memory, as ours tells it


AS_IT_SHIPS = Manner(fast=False, keep_memory=False)
LIKE_FOR_LIKE = Manner(fast=True, keep_memory=False)
SAME_ALLOCATOR = Manner(fast=True, keep_memory=True)


class Peer(Protocol):
    """A model whose step is the same for all peers."""

    def update_keys(self) -> None:
        """Move the key encoder toward the query encoder."""
        ...

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """Of one batch, images (B, 3, H, W); may change the queue."""
        ...


def encoder(case: Case) -> Any:
    """The network that all programs train."""
    fixed = {"img_size": case.size} if case.backbone.startswith("vit") else {}
    return timm.create_model(case.backbone, num_classes=0, in_chans=3, **fixed)


class LightlyMoCo(nn.Module):
    """MoCo v2 from lightly's blocks, put together as its documentation shows."""

    def __init__(self, case: Case) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead
        from lightly.models.utils import deactivate_requires_grad, update_momentum

        super().__init__()
        self.backbone = encoder(case)
        width = self.backbone.num_features
        self.head = MoCoProjectionHead(width, width, HEAD)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.head_momentum = copy.deepcopy(self.head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.head_momentum)
        self.criterion = NTXentLoss(temperature=TEMPERATURE, memory_bank_size=(case.queue, HEAD))
        self._update = update_momentum

    def update_keys(self) -> None:
        """As `Peer` says."""
        self._update(self.backbone, self.backbone_momentum, m=MOMENTUM)
        self._update(self.head, self.head_momentum, m=MOMENTUM)

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """As `Peer` says."""
        query = self.head(self.backbone(query_view))
        with torch.no_grad():
            key = self.head_momentum(self.backbone_momentum(key_view))
        return self.criterion(query, key)  # type: ignore[no-any-return]


class PlainMoCo(nn.Module):
    """The algorithm 1 of He et al. 2020 (arXiv:1911.05722) in plain PyTorch, with v2's head."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        body = encoder(case)
        width = body.num_features
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, HEAD))
        self.query = nn.Sequential(body, head)
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(HEAD, case.queue), dim=0))
        self.pointer = 0

    @torch.no_grad()
    def update_keys(self) -> None:
        """As `Peer` says."""
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.data = key.data * MOMENTUM + query.data * (1 - MOMENTUM)

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """As `Peer` says."""
        query = F.normalize(self.query(query_view), dim=1)
        with torch.no_grad():
            key = F.normalize(self.key(key_view), dim=1)
        positive = torch.einsum("nc,nc->n", query, key).unsqueeze(1)
        negative = torch.einsum("nc,ck->nk", query, self.queue.clone().detach())
        logits = torch.cat([positive, negative], dim=1) / TEMPERATURE
        targets = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        loss = F.cross_entropy(logits, targets)
        places = slice(self.pointer, self.pointer + len(key))
        self.queue[:, places] = key.T
        self.pointer = (self.pointer + len(key)) % self.queue.shape[1]
        return loss


class StablePretrainingMoCo(nn.Module):
    """stable-pretraining's own module, with its queue full, as it is after the first steps."""

    def __init__(self, case: Case) -> None:
        from stable_pretraining.methods import MoCov2

        super().__init__()
        body = encoder(case)
        dims = (body.num_features, HEAD)
        self.method = MoCov2(body, dims, queue_length=case.queue, temperature=TEMPERATURE)
        self.method.queue.append(F.normalize(torch.randn(case.queue, HEAD), dim=1))

    def update_keys(self) -> None:
        """As `Peer` says."""
        self.method.backbone.update_teacher()
        self.method.projector.update_teacher()

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """As `Peer` says."""
        return self.method(query_view, key_view).loss  # type: ignore[no-any-return]


PEERS: Mapping[str, Callable[[Case], Any]] = {
    "lightly": LightlyMoCo,
    "plain PyTorch": PlainMoCo,
    "stable-pretraining": StablePretrainingMoCo,
}


def installed() -> list[str]:
    """The peers that can run here."""
    needs = {"lightly": "lightly", "stable-pretraining": "stable_pretraining"}
    return [name for name in PEERS if name not in needs or find_spec(needs[name])]


def peer_step(
    name: str,
    case: Case,
    manner: Manner,
    device: torch.device | str = "cpu",
    *,
    compiled: bool = False,
) -> Callable[[], object]:
    """A training step of a peer on a batch made beforehand; `compiled` compiles its encoders."""
    if manner.keep_memory:
        keep_freed_memory()
    device = torch.device(device)
    layout = torch.channels_last if manner.fast else torch.contiguous_format
    views = [
        torch.rand(case.batch, 3, case.size, case.size).to(device, memory_format=layout)
        for _ in range(2)
    ]
    model: Any = PEERS[name](case).to(device, memory_format=layout)
    model.train()
    if compiled:
        for part in ("backbone", "backbone_momentum", "query", "key"):
            if hasattr(model, part):
                getattr(model, part).compile(dynamic=False)
    optimizer = torch.optim.SGD(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=0.03,
        momentum=0.9,
        weight_decay=1e-4,
    )
    native = cpu_precision() == "bf16" if device.type == "cpu" else has_native_bf16()
    mixed = manner.fast and native

    def step() -> None:
        model.update_keys()
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            loss = model.loss(*views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
