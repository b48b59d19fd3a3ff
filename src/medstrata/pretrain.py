"""Pre-training: from a store to an encoder, by one explicit loop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from medstrata import preprocessing as preprocess
from medstrata.augment import make_views
from medstrata.backbones import Backbone, create_backbone
from medstrata.console import say, warn
from medstrata.data.labels import make_task
from medstrata.data.store import Store
from medstrata.devices import device_name, gather, mixed_precision
from medstrata.errors import MedstrataError
from medstrata.interrupts import stop_requests
from medstrata.loader import Batch, Loader
from medstrata.losses import INTERMEDIATE_LOSSES, IntermediateLosses
from medstrata.moco import Encoder, Loss, MoCo, Queue, update_key_encoder
from medstrata.monitors import Monitor, make_monitor
from medstrata.preprocessing import Preprocessing
from medstrata.randomness import derive_seed, permutation
from medstrata.recorder import Recorder
from medstrata.run import (
    checkpoints,
    load_checkpoint,
    open_run,
    read_result,
    save_checkpoint,
    settings_dict,
    write_result,
)
from medstrata.schedule import lr_factor
from medstrata.settings import IntermediateSettings, PretrainSettings
from medstrata.tracking import read_metrics
from medstrata.weights import export_backbone

# What a random number is for, so that equal seeds elsewhere do not give equal draws.
_WEIGHTS, _QUEUE, _SHUFFLE, _MONITOR = range(1000, 1004)


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
    step: int = 0


def pretrain(
    store: Store,
    settings: PretrainSettings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Pre-train an encoder on a store's images, without their labels.

    Args:
        store: The images; labels, if any, are read by the k-NN monitor alone.
        settings: What to do; see `medstrata.recipes`.
        out: The run folder.
        resume: Go on exactly where the run in `out` was cut, if there is one.
        overwrite: Delete a run in `out` first.

    Returns:
        The run folder, with `exported/backbone.safetensors` and `result.json`.

    Raises:
        MedstrataError: the folder is in use, the batch is larger than the data, the loss is no
            longer finite, or the run was stopped by a signal (after saving).
    """
    settings = _resolve(settings, store)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=mixed_precision(settings.precision),
        gradient_accumulation_steps=settings.accumulate,
    )
    described = {"store": store.path.name, "store_digest": store.digest, **settings_dict(settings)}
    if accelerator.is_main_process:
        resumed = open_run(out, described, resume=resume, overwrite=overwrite)
        if resumed and read_result(out) is not None:
            say(f"{out} is finished already; nothing to do")
            return out
    accelerator.wait_for_everyone()
    training = build(accelerator, settings, store, out)
    saved = checkpoints(out / "checkpoints")
    state = load_checkpoint(saved[-1]) if saved else None
    if state is not None:
        restore(training, state)
        say(f"resuming {out} at step {training.step}")
    if accelerator.is_main_process:
        _save_views(training)
    seconds = train(training, metrics_length=state["metrics_length"] if state else 0)
    if accelerator.is_main_process:
        _finish(training, store, seconds)
    accelerator.wait_for_everyone()
    return out


def _resolve(settings: PretrainSettings, store: Store) -> PretrainSettings:
    """Fill in what the store decides, so that config.yaml says what was done."""
    task = settings.knn_task or next(iter(store.label_columns), "")
    return replace(
        settings,
        in_channels=settings.in_channels or store.channels,
        knn_task=task,
        views=replace(settings.views, size=settings.views.size or store.size),
    )


def build(
    accelerator: Accelerator, settings: PretrainSettings, store: Store, folder: Path
) -> Training:
    """Put model, queue, optimizer and loader together, as they are before the first step."""
    rows = store.rows("train" if settings.images == "train" else None)
    loader = Loader(
        store=store,
        rows=rows,
        settings=settings.views,
        batch_size=settings.batch_size,
        views=2,
        seed=settings.seed,
        device=accelerator.device,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    expected = _preprocessing(settings, store)
    model = _build_model(settings, expected, settings.batch_size // accelerator.num_processes)
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=_base_lr(settings),
        momentum=settings.optimizer.sgd_momentum,
        weight_decay=settings.optimizer.weight_decay,
    )
    model = model.to(accelerator.device).to(memory_format=torch.channels_last)
    if settings.compile:
        model.query_encoder.compile()
        model.key_encoder.compile()
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, _QUEUE))
    queue = Queue(
        _queue_size(settings, len(rows)), settings.contrastive.head_size, generator=generator
    )
    task = make_task(store, settings.knn_task) if settings.knn_task else None
    return Training(
        accelerator=accelerator,
        settings=settings,
        folder=folder,
        loader=loader,
        model=model,
        wrapped=wrapped,
        optimizer=optimizer,
        queue=queue.to(accelerator.device),
        preprocessing=expected,
        monitor=make_monitor(
            store, rows, task, expected, accelerator.device, derive_seed(settings.seed, _MONITOR)
        ),
    )


def _preprocessing(settings: PretrainSettings, store: Store) -> Preprocessing:
    size, channels = settings.views.size, settings.in_channels
    if channels < store.channels:
        raise MedstrataError(f"{store.path} has colour images; in_channels must be 3, not 1")
    match settings.normalize:
        case "none":
            return preprocess.identity(size, channels)
        case "imagenet":
            return preprocess.imagenet(size, channels)
        case _:
            return preprocess.by_store(size, channels, store.mean, store.std)


def _build_model(settings: PretrainSettings, expected: Preprocessing, local_batch: int) -> MoCo:
    contrastive = settings.contrastive
    # The one place where the global generator is seeded: initialisers of all backbones read it.
    torch.manual_seed(derive_seed(settings.seed, _WEIGHTS))
    backbone = create_backbone(
        settings.backbone,
        in_channels=expected.channels,
        image_size=expected.image_size,
        weights=settings.weights,
        zero_init_residual=settings.zero_init_residual,
    )
    encoder = Encoder(
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
        build_intermediate(settings.intermediate, backbone),
        temperature=contrastive.temperature,
        key_sub_batches=parts,
        gather=gather,
    )


def build_intermediate(settings: IntermediateSettings, backbone: Backbone) -> IntermediateLosses:
    """The intermediate losses that the settings name, sized for a backbone's stages."""
    if settings.loss == "none":
        return IntermediateLosses({}, {})
    weights = {stage: weight for stage, weight in settings.weights.items() if weight > 0}
    absent = weights.keys() - backbone.stage_channels.keys()
    if absent:
        raise MedstrataError(f"the backbone has no {sorted(absent)}; it has {list(backbone.taps)}")
    constructor = INTERMEDIATE_LOSSES[settings.loss]
    options: dict[str, dict[str, Any]] = {
        "mse": {},
        "centered_cosine": {},
        "barlow_twins": {
            "projector_size": settings.projector_size,
            "on_weight": settings.on_weight,
            "off_weight": settings.off_weight,
        },
    }
    losses = {}
    for stage in weights:
        chosen = dict(options[settings.loss])
        if settings.loss == "mse":
            chosen["grid"] = settings.grids.get(stage, 1)
        losses[stage] = constructor(backbone.stage_channels[stage], **chosen)
    return IntermediateLosses(losses, weights)


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


def _base_lr(settings: PretrainSettings) -> float:
    optimizer = settings.optimizer
    images = settings.batch_size * settings.accumulate
    return optimizer.lr * images / optimizer.lr_batch if optimizer.lr_batch else optimizer.lr


def train(training: Training, *, metrics_length: int = 0) -> float:
    """Run from `training.step` to the end; returns the seconds of all parts of the run."""
    t, per_epoch = training, training.loader.steps_per_epoch
    with stop_requests() as stopping, _recorder(t, metrics_length) as recorder:
        for epoch in range(t.step // per_epoch, t.settings.epochs):
            batches = t.loader.epoch(epoch, first_step=t.step % per_epoch)
            for batch in batches:
                lr = _set_lr(t)
                loss = training_step(t, batch)
                t.step += 1
                recorder.add(t.step, epoch, loss, lr, batches)
                if t.settings.checkpoint_every and t.step % t.settings.checkpoint_every == 0:
                    _save(t, recorder)
                if stopping():
                    _save(t, recorder)
                    batches.close()
                    raise MedstrataError(f"stopped at step {t.step}; go on with --resume")
            recorder.end_epoch(epoch, batches)
            _save(t, recorder)
        return recorder.seconds


def _recorder(t: Training, metrics_length: int) -> Recorder:
    return Recorder(
        t.accelerator,
        t.folder,
        batch_size=t.settings.batch_size,
        steps_per_epoch=t.loader.steps_per_epoch,
        epochs=t.settings.epochs,
        step=t.step,
        metrics_length=metrics_length,
        look=lambda: t.monitor.look(t.model.query_encoder.backbone),
    )


def training_step(t: Training, batch: Batch) -> Loss:
    """One step of momentum contrast (He et al. 2020, algorithm 1) with intermediate losses."""
    with t.accelerator.accumulate(t.wrapped):
        if t.step % t.settings.accumulate == 0:
            update_key_encoder(t.model, t.settings.contrastive.momentum)
        query_view, key_view = (t.preprocessing(view) for view in batch.views)
        masked = t.settings.contrastive.mask_own_keys
        loss: Loss = t.wrapped(
            query_view,
            key_view,
            t.queue.keys,
            shuffle=_shuffle(t, len(query_view)),
            ids=batch.ids if masked else None,
            negative_ids=t.queue.ids if masked else None,
        )
        t.accelerator.backward(loss.total)
        t.optimizer.step()
        t.optimizer.zero_grad()
    t.queue.enqueue(gather(loss.key), gather(batch.ids))
    return loss


def _shuffle(t: Training, batch: int) -> Tensor:
    order = permutation(batch, t.settings.seed, _SHUFFLE, t.step, t.loader.rank)
    return torch.from_numpy(order).to(t.accelerator.device)


def _set_lr(t: Training) -> float:
    per_epoch = t.loader.steps_per_epoch
    lr = _base_lr(t.settings) * lr_factor(
        t.step,
        steps=t.settings.epochs * per_epoch,
        warmup_steps=round(t.settings.optimizer.warmup_epochs * per_epoch),
        schedule=t.settings.optimizer.schedule,
    )
    for group in t.optimizer.param_groups:
        group["lr"] = lr
    return lr


def _save(t: Training, recorder: Recorder) -> None:
    """Everything a run needs to go on as if it had never stopped."""
    recorder.flush()
    if t.accelerator.is_main_process:
        state = {
            "step": t.step,
            "model": t.model.state_dict(),
            "queue": t.queue.state_dict(),
            "optimizer": t.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "metrics_length": recorder.length,
        }
        save_checkpoint(t.folder / "checkpoints", t.step, state, t.settings.keep_checkpoints)
    t.accelerator.wait_for_everyone()


def restore(training: Training, state: Mapping[str, Any]) -> None:
    """Put a checkpoint's state back."""
    training.step = state["step"]
    training.model.load_state_dict(state["model"])
    training.queue.load_state_dict(state["queue"])
    training.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])


def _save_views(t: Training) -> None:
    """views.png: both views of eight images of the first batch, as the encoder sees them."""
    rows = t.loader.batch_rows(epoch=0, step=0)[:8]
    pixels, _ = make_views(t.loader.store, rows, t.settings.views, seed=t.settings.seed, epoch=0)
    sheet = np.concatenate([np.concatenate(list(view), axis=1) for view in pixels], axis=0)
    colour = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR) if sheet.shape[-1] == 3 else sheet
    cv2.imwrite(str(t.folder / "views.png"), colour)


def _finish(t: Training, store: Store, seconds: float) -> None:
    """Export the query encoder's backbone and write result.json."""
    settings = t.settings
    arm = settings.recipe.rpartition("/")[2] or settings.intermediate.loss
    backbone = t.model.query_encoder.backbone
    export_backbone(t.folder / "exported", settings.backbone, backbone, t.preprocessing, arm)
    *_, final = read_metrics(t.folder / "metrics.jsonl", "epoch")
    write_result(
        t.folder,
        {
            "kind": "pretrain",
            "arm": arm,
            "recipe": settings.recipe,
            "backbone": settings.backbone,
            "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
            "store": {
                "name": store.path.name,
                "images": len(store),
                "size": store.size,
                "channels": store.channels,
            },
            "images": len(t.loader.rows),
            "epochs": settings.epochs,
            "steps": t.step,
            "seconds": seconds,
            "seed": settings.seed,
            "device": device_name(t.accelerator.device),
            "final": final,
        },
    )
    say(f"pre-trained {t.step} steps in {seconds:.0f} s; encoder in {t.folder / 'exported'}")
