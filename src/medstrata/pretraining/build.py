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
from medstrata.models.backbones import Backbone, create_backbone, load_weights
from medstrata.models.cpu_convolutions import replace_convolutions
from medstrata.models.encoders import read_encoder
from medstrata.models.preprocessing import Preprocessing
from medstrata.pretraining.fsdp import copy_full_weights, shard
from medstrata.pretraining.losses import build_intermediate
from medstrata.pretraining.moco import EncoderWithHead, MoCo, Queue
from medstrata.pretraining.monitors import Monitor, make_monitor
from medstrata.pretraining.schedule import Update, update_at
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import ResolvedSettings, base_lr
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.distributed import gather
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream, derive_seed


@dataclass
class Training:
    """Everything the loop works on; `step` is all that moves besides the tensors."""

    accelerator: Accelerator
    resolved: ResolvedSettings
    folder: Path
    loader: Loader
    model: MoCo
    wrapped: nn.Module  # the model as Accelerate prepared it for this device and its processes
    optimizer: Any  # Accelerate's wrapper of SGD
    queue: Queue
    preprocessing: Preprocessing
    monitor: Monitor
    random_state: TorchRandomState  # of initial weights, and of what training draws besides views
    monitored_backbone: Backbone  # the query encoder's, or where that is split its unsplit copy
    step: int = 0

    @property
    def settings(self) -> PretrainSettings:
        """What the run was told, with nothing left open."""
        return self.resolved.settings

    @property
    def update(self) -> Update:
        """The change of the weights that the coming step takes part in."""
        return update_at(
            self.step,
            accumulate=self.settings.accumulate,
            steps_per_epoch=self.loader.steps_per_epoch,
            steps=self.resolved.steps,
        )


def build(
    accelerator: Accelerator,
    resolved: ResolvedSettings,
    store: Store,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    resuming: bool = False,
) -> Training:
    """Put model, queue, optimizer and loader together, as they are before the first step.

    Args:
        accelerator: The device and its processes.
        resolved: Settings, of `sizing.resolve`.
        store: Where the images are.
        rows: Sample numbers to train on, of `sizing.training_rows`.
        folder: The run folder.
        resuming: Whether a checkpoint will give the weights; those that `settings` names for the
            start need not be there any more.
    """
    device, settings = accelerator.device, resolved.settings
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
    preprocessing = _preprocessing(settings, store)
    random_state = TorchRandomState(Stream.WEIGHTS, settings.seed)
    with random_state.in_use():
        model = _build_model(
            settings,
            preprocessing,
            settings.batch_size // accelerator.num_processes,
            EncoderSpec.parse(("" if resuming else settings.weights) or "scratch"),
        )
    model = model.to(device).to(memory_format=torch.channels_last)
    replace_convolutions(accelerator, model)
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
        resolved=resolved,
        folder=folder,
        loader=loader,
        model=model,
        # What is split needs no wrapper to average gradients.
        wrapped=accelerator.prepare_model(model, evaluation_mode=settings.shard),
        optimizer=accelerator.prepare_optimizer(optimizer),
        queue=_make_queue(resolved).to(device),
        preprocessing=preprocessing,
        monitor=_make_monitor(settings, store, rows, preprocessing, device),
        random_state=random_state,
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
            return preprocess.store_statistics(size, channels, store.mean, store.std)


def _build_model(
    settings: PretrainSettings, preprocessing: Preprocessing, local_batch: int, start: EncoderSpec
) -> MoCo:
    contrastive = settings.contrastive
    backbone = create_backbone(
        settings.backbone,
        in_channels=preprocessing.channels,
        image_size=preprocessing.image_size,
        pretrained=start.kind == "imagenet" and start.path is None,
        zero_init_residual=settings.zero_init_residual,
    )
    if start.path is not None:
        load_weights(backbone, read_encoder(start, settings.backbone))
    encoder = EncoderWithHead(
        backbone, head_size=contrastive.head_size, hidden_layers=contrastive.hidden_layers
    )
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    if normalised and local_batch < 2:
        raise MedstrataError(
            f"one image a process has no batch statistics, which {settings.backbone} needs; give "
            "a larger --batch-size"
        )
    part = contrastive.key_part_size
    parts = max(2, local_batch // part) if normalised and part else 1
    if parts > 1 and local_batch < 2 * parts:
        raise MedstrataError(
            f"{local_batch} images a process cannot be shuffled in {parts} parts of 2 or more, "
            "which hides batch statistics from the loss; give a larger --batch-size, or "
            "--contrastive.key_part_size 0"
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
    preprocessing: Preprocessing,
    device: torch.device,
) -> Monitor:
    task = make_task(store, settings.knn_task) if settings.knn_task else None
    seed = derive_seed(Stream.MONITOR, settings.seed)
    return make_monitor(store, rows, task, preprocessing, device, seed, settings.shuffle_shards)


def _make_queue(resolved: ResolvedSettings) -> Queue:
    settings = resolved.settings
    generator = torch.Generator().manual_seed(derive_seed(Stream.QUEUE, settings.seed))
    return Queue(resolved.queue_size, settings.contrastive.head_size, generator=generator)


def update_monitored_backbone(training: Training) -> None:
    """Bring what monitors and exports see up to date; all processes must call this."""
    if training.settings.shard:
        copy_full_weights(training.model.query_encoder.backbone, training.monitored_backbone)
