"""What a pre-training run is made of, put together from its settings and a store."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from medstrata.data.labels import make_task
from medstrata.data.loader import Loader
from medstrata.data.store.store import Store
from medstrata.models import preprocessing as preprocess
from medstrata.models.backbones import Backbone, create_backbone, take_weights
from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.preprocessing import Preprocessing
from medstrata.pretraining.fsdp import copy_whole, shard
from medstrata.pretraining.losses import build_intermediate
from medstrata.pretraining.moco import EncoderWithHead, MoCo, Queue
from medstrata.pretraining.monitors import Monitor, make_monitor
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.console import say, warn
from medstrata.runtime.devices import spare_slow_convolutions
from medstrata.runtime.distributed import gather
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.process_state import seed_initial_weights
from medstrata.runtime.randomness import Stream, derive_seed


@dataclass
class Training:
    """Everything the loop works on; `step` is all that moves besides the tensors."""

    accelerator: Accelerator
    settings: PretrainSettings
    folder: Path
    loader: Loader
    model: MoCo
    wrapped: nn.Module  # the model as Accelerate prepared it for this device and its processes
    optimizer: Any  # Accelerate's wrapper of SGD
    queue: Queue
    preprocessing: Preprocessing
    monitor: Monitor
    monitored_backbone: Backbone  # the query encoder's, or where that is split its unsplit copy
    step: int = 0


def build(
    accelerator: Accelerator, settings: PretrainSettings, store: Store, folder: Path
) -> Training:
    """Put model, queue, optimizer and loader together, as they are before the first step."""
    device = accelerator.device
    rows = store.rows("train" if settings.images == "train" else None)
    loader = Loader(
        store=store,
        rows=rows,
        settings=settings.views,
        batch_size=settings.batch_size,
        views=2,
        seed=settings.seed,
        device=device,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        shuffle_shards=settings.shuffle_shards,
    )
    expected = _preprocessing(settings, store)
    model = _build_model(settings, expected, settings.batch_size // accelerator.num_processes)
    model = model.to(device).to(memory_format=torch.channels_last)
    spare_slow_convolutions(accelerator, model)
    monitored_backbone = model.query_encoder.backbone
    if settings.shard:
        monitored_backbone = copy.deepcopy(monitored_backbone)
        shard(model, device, accelerator.num_processes)
    optimizer = _make_optimizer(settings, model)
    if settings.compile:
        # For the very shapes: sub-batches of keys would else make the batch a variable.
        model.query_encoder.compile(dynamic=False)
        model.key_encoder.compile(dynamic=False)
    return Training(
        accelerator=accelerator,
        settings=settings,
        folder=folder,
        loader=loader,
        model=model,
        # What is split needs no wrapper to average gradients.
        wrapped=accelerator.prepare_model(model, evaluation_mode=settings.shard),
        optimizer=accelerator.prepare_optimizer(optimizer),
        queue=_make_queue(settings, len(rows)).to(device),
        preprocessing=expected,
        monitor=_make_monitor(settings, store, rows, expected, device),
        monitored_backbone=monitored_backbone,
    )


def _preprocessing(settings: PretrainSettings, store: Store) -> Preprocessing:
    size, channels = settings.views.size, settings.in_channels
    if channels < store.channels:
        raise MedstrataError(f"{store.location} has colour images; in_channels must be 3, not 1")
    match settings.normalize:
        case "none":
            return preprocess.identity(size, channels)
        case "imagenet":
            return preprocess.imagenet(size, channels)
        case _:
            return preprocess.by_store(size, channels, store.mean, store.std)


def _build_model(settings: PretrainSettings, expected: Preprocessing, local_batch: int) -> MoCo:
    contrastive = settings.contrastive
    seed_initial_weights(Stream.WEIGHTS, settings.seed)
    backbone = create_backbone(
        settings.backbone,
        in_channels=expected.channels,
        image_size=expected.image_size,
        pretrained=settings.weights == "imagenet",
        zero_init_residual=settings.zero_init_residual,
    )
    if settings.weights not in (None, "imagenet"):
        take_weights(backbone, find_encoder(Path(settings.weights)))
    encoder = EncoderWithHead(
        backbone, head_size=contrastive.head_size, hidden_layers=contrastive.hidden_layers
    )
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    parts = contrastive.key_sub_batches if normalised else 1
    if local_batch < 2 * parts and parts > 1:
        raise MedstrataError(
            f"key_sub_batches {parts} leaves fewer than 2 of {local_batch} images in a part; give "
            "a larger --batch-size or --contrastive.key_sub_batches 1"
        )
    return MoCo(
        encoder,
        build_intermediate(settings.intermediate, backbone.stage_channels),
        temperature=contrastive.temperature,
        key_sub_batches=parts,
        gather=gather,
    )


def _make_optimizer(settings: PretrainSettings, model: MoCo) -> torch.optim.SGD:
    return torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=base_lr(settings),
        momentum=settings.optimizer.sgd_momentum,
        weight_decay=settings.optimizer.weight_decay,
    )


def _make_monitor(
    settings: PretrainSettings,
    store: Store,
    rows: NDArray[np.int64],
    expected: Preprocessing,
    device: torch.device,
) -> Monitor:
    task = make_task(store, settings.knn_task) if settings.knn_task else None
    seed = derive_seed(Stream.MONITOR, settings.seed)
    return make_monitor(store, rows, task, expected, device, seed, settings.shuffle_shards)


def _make_queue(settings: PretrainSettings, images: int) -> Queue:
    generator = torch.Generator().manual_seed(derive_seed(Stream.QUEUE, settings.seed))
    size = _queue_size(settings, images)
    return Queue(size, settings.contrastive.head_size, generator=generator)


def _queue_size(settings: PretrainSettings, images: int) -> int:
    wanted = settings.contrastive.queue_size
    most = max(1, images - settings.batch_size)
    if wanted <= most:
        return wanted
    if settings.contrastive.cap_queue:
        say(f"queue of {wanted} capped at {most}: {images} images less a batch")
        return most
    warn(f"queue of {wanted} for {images} images: images meet their own old keys as negatives")
    return wanted


def base_lr(settings: PretrainSettings) -> float:
    """The learning rate after warm-up, scaled with the images of one update if asked."""
    optimizer = settings.optimizer
    images = settings.batch_size * settings.accumulate
    return optimizer.lr * images / optimizer.lr_batch if optimizer.lr_batch else optimizer.lr


def update_monitored_backbone(training: Training) -> None:
    """Bring what monitors and exports see up to date; all processes must call this."""
    if training.settings.shard:
        copy_whole(training.model.query_encoder.backbone, training.monitored_backbone)
