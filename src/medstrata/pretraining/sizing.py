"""What of a run's settings its images decide: which of them, length, queue, momentum, warm-up."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medstrata.data.audit.duplicates import component_numbers, find_duplicates
from medstrata.data.datasets.registry import DATASETS
from medstrata.data.store.store import Store
from medstrata.models.backbones import timm_name
from medstrata.pretraining.settings import REMOTE_SHUFFLE_SHARDS, PretrainSettings
from medstrata.runtime.console import say, warn
from medstrata.runtime.errors import MedstrataError

_QUEUE = 4096
# The key encoder remembers a fixed share of a run: 1 / (1 - momentum) steps of it.
_RUN_PER_MEMORY = 80
_LEAST_MOMENTUM, _MOST_MOMENTUM = 0.99, 0.999
_MOST_WARM_UP = 0.05  # of the steps


@dataclass(frozen=True, kw_only=True)
class ResolvedSettings:
    """Settings of a run on some images, with what may be left to the images as numbers.

    Attributes:
        settings: With the same numbers filled in, so that config.yaml says what was done.
        steps: Of the whole run.
        warmup_steps: Steps over which the learning rate rises.
        queue_size: Old keys that serve as negatives.
        momentum: Share of itself that the key encoder keeps at each step.
    """

    settings: PretrainSettings
    steps: int
    warmup_steps: int
    queue_size: int
    momentum: float


def training_rows(settings: PretrainSettings, store: Store) -> NDArray[np.int64]:
    """Sample numbers of the images that a run is trained on, ascending, shape (N,).

    The same settings and store give the same rows, so that a run can go on.

    Raises:
        MedstrataError: they are fewer than a batch.
    """
    rows = store.rows("train" if settings.images == "train" else None)
    if settings.skip_near_copies:
        rows = _without_near_copies(rows, store)
    if settings.batch_size > len(rows):
        held_back = ", or --images all, which holds none back" if settings.images == "train" else ""
        raise MedstrataError(
            f"batch size {settings.batch_size} is larger than the {len(rows)} images to train on; "
            f"give a smaller --batch-size{held_back}"
        )
    return rows


def _without_near_copies(rows: NDArray[np.int64], store: Store) -> NDArray[np.int64]:
    """One of each group of images that are equal or nearly so."""
    say("looking for copies among the images")
    duplicates = find_duplicates(store.manifest, store.__getitem__)
    pairs = duplicates.exact_pairs() + duplicates.near_pairs()
    # Of all images: two that are trained on may be copies of a third in another split.
    _, first, sizes = np.unique(
        component_numbers(len(store), pairs)[rows], return_index=True, return_counts=True
    )
    kept = rows[np.sort(first)]
    say(
        f"near copies: {len(rows) - len(kept):,} of {len(rows):,} images left out, one of each of "
        f"{np.count_nonzero(sizes > 1):,} groups kept"
    )
    return kept


def resolve(settings: PretrainSettings, store: Store, images: int) -> ResolvedSettings:
    """Fill in what the store and the number of images decide.

    Args:
        settings: As a recipe and the user have them; what they name stays.
        store: Where the images are.
        images: How many of them are trained on.

    Raises:
        MedstrataError: timm has no such network.
    """
    settings = replace(
        settings,
        backbone=timm_name(settings.backbone),
        in_channels=settings.in_channels or (1 if store.channels == 1 else 3),
        knn_task=settings.knn_task or next(iter(store.label_columns), ""),
        shuffle_shards=settings.shuffle_shards
        or (REMOTE_SHUFFLE_SHARDS if store.is_remote else None),
        views=replace(settings.views, size=settings.views.size or store.size),
    )
    return resolve_sizes(settings, images)


def resolve_sizes(settings: PretrainSettings, images: int) -> ResolvedSettings:
    """Length, queue, key momentum and warm-up for so many images; what is named stays.

    Measured for momentum 0.99 and 2,700 to 8,100 steps on 2,800 to 5,800 images; beyond, the rules
    lead to what is published for long runs.
    """
    contrastive, optimizer = settings.contrastive, settings.optimizer
    steps, together = settings.total_steps(images), settings.accumulate
    if together > (most := min(steps, settings.steps_per_epoch(images))):
        raise MedstrataError(
            f"accumulate {together} is more than the {most} steps of {settings.batch_size} that "
            f"{images} images give before the weights must change; lower --accumulate, or "
            "--batch-size with it"
        )
    momentum, warmup = contrastive.momentum, optimizer.warmup_steps
    if momentum is None:
        share = round(1 - _RUN_PER_MEMORY / steps, 5)
        momentum = min(max(share, _LEAST_MOMENTUM), _MOST_MOMENTUM)
    if warmup is None:
        warmup = min(settings.steps_per_epoch(images), round(_MOST_WARM_UP * steps))
    queue = _queue_size(settings, images)
    return ResolvedSettings(
        settings=replace(
            settings,
            steps=steps if settings.epochs is None else None,
            contrastive=replace(contrastive, momentum=momentum, queue_size=queue),
            optimizer=replace(optimizer, warmup_steps=warmup),
        ),
        steps=steps,
        warmup_steps=warmup,
        queue_size=queue,
        momentum=momentum,
    )


def _queue_size(settings: PretrainSettings, images: int) -> int:
    wanted, batch = settings.contrastive.queue_size, settings.batch_size
    most = max(1, images - batch)
    if wanted is None:
        most = min(_QUEUE, most)
        return most // batch * batch or most
    return min(wanted, most) if settings.contrastive.cap_queue else wanted


def base_lr(settings: PretrainSettings) -> float:
    """The learning rate after warm-up, scaled with the images of one update if asked."""
    optimizer = settings.optimizer
    images = settings.batch_size * settings.accumulate
    return optimizer.lr * images / optimizer.lr_batch if optimizer.lr_batch else optimizer.lr


def say_plan(resolved: ResolvedSettings, store: Store, images: int) -> None:
    """Say in one line how a run is sized, in further ones what asks for a thought."""
    settings, steps, queue = resolved.settings, resolved.steps, resolved.queue_size
    batch = settings.batch_size
    part = min(settings.contrastive.key_part_size, batch // 2)
    say(
        f"{settings.recipe or 'settings'} on {images:,} images: {steps:,} steps of {batch} "
        f"({steps / settings.steps_per_epoch(images):.4g} epochs), queue {queue:,}, key momentum "
        f"{resolved.momentum:g}, learning rate {base_lr(settings):.4g} after "
        f"{resolved.warmup_steps} steps of warm-up, "
        f"{f'key parts of {part} images' if part else 'keys in one part'}"
    )
    if queue < batch:
        warn(
            f"queue of {queue} for batches of {batch}: each image is told from few others; "
            f"--batch-size {max(2, images // 2)} or less leaves room for more"
        )
    if queue > max(1, images - batch):
        warn(f"queue of {queue} for {images} images: images meet their own old keys as negatives")
    dataset = DATASETS.get(str(store.plan.get("dataset")))
    if settings.modality is None and dataset and dataset.preset:
        say(f"{dataset.name}: {dataset.modality}; --modality {dataset.preset} has views for them")
