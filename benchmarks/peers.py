"""What ours is measured against: training steps and views of others, as their authors show them.

`step` gives MoCo's training step by lightly's blocks, plain PyTorch or stable-pretraining. `views`
gives MoCo v2's two views by other libraries, from images that are decoded already: all draw the
same crop, flip, colour, grey and blur; grey images have no hue, saturation or loss of colour.
kornia crops and resizes floats, the others resample with antialiasing; blurs have a kernel of 13
pixels but in albumentations, which takes it from the drawn width. All end with uint8 but kornia.
"""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from harness import cpu_precision
from medstrata.runtime.devices import has_native_bf16
from medstrata.runtime.memory import keep_freed_memory

HEAD = 128  # size of a key, everywhere
TEMPERATURE, MOMENTUM = 0.2, 0.999
KERNEL, SIGMA, SCALE = 13, (0.1, 2.0), (0.2, 1.0)  # of blurs, pixels; of crops, share of the area
BATCH = 32  # images a call of the library that takes batches
Pixels = NDArray[np.uint8]
Run = Callable[[], None]


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


def encoder(case: Case) -> Any:
    """The network that all programs train."""
    fixed: dict[str, Any] = {"img_size": case.size} if case.backbone.startswith("vit") else {}
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
        """Move the key encoder toward the query encoder."""
        self._update(self.backbone, self.backbone_momentum, m=MOMENTUM)
        self._update(self.head, self.head_momentum, m=MOMENTUM)

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """Of one batch, images (B, 3, H, W); changes the queue."""
        query = self.head(self.backbone(query_view))
        with torch.no_grad():
            key = self.head_momentum(self.backbone_momentum(key_view))
        return self.criterion(query, key)  # type: ignore[no-any-return]


class PlainMoCo(nn.Module):
    """The algorithm 1 of He et al. 2020 (arXiv:1911.05722) in plain PyTorch, with v2's head."""

    queue: Tensor

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
        """Move the key encoder toward the query encoder."""
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.data = key.data * MOMENTUM + query.data * (1 - MOMENTUM)

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """Of one batch, images (B, 3, H, W); changes the queue."""
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
        """Move the key encoder toward the query encoder."""
        self.method.backbone.update_teacher()
        self.method.projector.update_teacher()

    def loss(self, query_view: Tensor, key_view: Tensor) -> Tensor:
        """Of one batch, images (B, 3, H, W); changes the queue."""
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


def step(
    name: str,
    case: Case,
    manner: Manner,
    device: str = "cpu",
    *,
    compiled: bool = False,
) -> Callable[[], object]:
    """A training step of a peer on a batch made beforehand; `compiled` compiles its encoders."""
    if manner.keep_memory:
        keep_freed_memory()
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
    native = cpu_precision() == "bf16" if device == "cpu" else has_native_bf16()
    mixed = manner.fast and native

    def run() -> None:
        model.update_keys()
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            loss = model.loss(*views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def lightly_views(size: int, load: Callable[[], Iterator[Image.Image]]) -> Run:
    """Lightly's MoCo v2 transform of every image; it begins with images of PIL."""
    from lightly.transforms.moco_transform import MoCoV2Transform

    transform: Any = MoCoV2Transform(input_size=size)

    def run() -> None:
        for image in load():
            first, second = transform(image)
            assert first.shape[1:] == second.shape[1:] == (size, size)

    return run


def views(size: int, pixels: Pixels) -> dict[str, Run]:
    """Programs that make two views of every image, (N, H, W, C), by name; those installed."""
    makers: Mapping[str, Callable[[int, Pixels], Run]] = {
        "torchvision v1, Pillow images": torchvision_1,
        "torchvision v2, uint8 tensors": torchvision_2,
        "albumentations, NumPy": albumentations,
        "kornia, batches of floats": kornia,
    }
    there = {name: make for name, make in makers.items() if find_spec(make.__name__.split("_")[0])}
    return {name: make(size, pixels) for name, make in there.items()}


def _colour(grey: bool) -> dict[str, float]:
    jitter = {"brightness": 0.4, "contrast": 0.4}
    return jitter if grey else jitter | {"saturation": 0.4, "hue": 0.1}


def _is_grey(pixels: Pixels) -> bool:
    return bool(pixels.shape[3] == 1)


def _twice(transform: Callable[[Any], Any], images: Sequence[Any]) -> Run:
    def run() -> None:
        for image in images:
            transform(image)
            transform(image)

    return run


def torchvision_transform(module: Any, size: int, *, grey: bool, kernel: int = KERNEL) -> Any:
    """MoCo v2's view of one image; `module` is `torchvision.transforms` or its `v2`."""
    return module.Compose(
        [
            module.RandomResizedCrop(size, SCALE, antialias=True),
            module.RandomHorizontalFlip(),
            module.RandomApply([module.ColorJitter(**_colour(grey))], 0.8),
            *([] if grey else [module.RandomGrayscale(0.2)]),
            module.RandomApply([module.GaussianBlur(kernel, SIGMA)], 0.5),
        ]
    )


def torchvision_1(size: int, pixels: Pixels) -> Run:
    from torchvision import transforms

    transform = torchvision_transform(transforms, size, grey=_is_grey(pixels))
    to_tensor = transforms.PILToTensor()
    images = [Image.fromarray(one.squeeze()) for one in pixels]
    return _twice(lambda image: to_tensor(transform(image)), images)


def torchvision_2(size: int, pixels: Pixels) -> Run:
    from torchvision.transforms import v2

    images = [torch.from_numpy(one).permute(2, 0, 1) for one in pixels]
    return _twice(torchvision_transform(v2, size, grey=_is_grey(pixels)), images)


def albumentations(size: int, pixels: Pixels) -> Run:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no call home
    import albumentations as package

    grey = _is_grey(pixels)
    jitter = {"saturation": 0.0, "hue": 0.0} | _colour(grey)
    transform = package.Compose(
        [
            package.RandomResizedCrop((size, size), SCALE, area_for_downscale="image"),
            package.HorizontalFlip(),
            package.ColorJitter(**jitter, p=0.8),
            *([] if grey else [package.ToGray(p=0.2)]),
            package.GaussianBlur(sigma_limit=SIGMA, p=0.5),
        ]
    )
    return _twice(lambda image: transform(image=image), list(pixels))


def kornia(size: int, pixels: Pixels) -> Run:
    import kornia.augmentation as package

    if _is_grey(pixels):
        colour = [
            package.RandomBrightness((0.6, 1.4), p=0.8),
            package.RandomContrast((0.6, 1.4), p=0.8),
        ]
    else:
        colour = [package.ColorJitter(**_colour(False), p=0.8), package.RandomGrayscale(p=0.2)]
    transform = torch.nn.Sequential(
        package.RandomResizedCrop((size, size), SCALE),
        package.RandomHorizontalFlip(),
        *colour,
        package.RandomGaussianBlur(KERNEL, SIGMA),
    )
    batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(BATCH)

    def run() -> None:
        for batch in batches:
            floats = batch.float().div(255)
            transform(floats)
            transform(floats)

    return run
