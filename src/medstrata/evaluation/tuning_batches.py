"""The labelled images of a fine-tuning, batch by batch."""

from collections.abc import Generator
from dataclasses import replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from medstrata.data.loader import Batch, Loader
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.runtime.randomness import Stream, derive_seed


def tuning_loader(
    evaluation: Evaluation,
    rows: NDArray[np.int64],
    settings: FinetuneSettings,
    device: torch.device,
) -> Loader:
    """A loader of one view of each image, at the encoder's image size.

    Args:
        evaluation: Has the store and the encoder.
        rows: Sample numbers of the images, shape (N,).
        settings: Views, batch size, seed of the order, shards mixed at a time.
        device: Where the batches go.
    """
    return Loader(
        store=evaluation.store,
        rows=rows,
        settings=replace(settings.views, size=evaluation.loaded.preprocessing.image_size),
        batch_size=min(settings.batch_size, len(rows)),
        views=1,
        seed=derive_seed(Stream.FINETUNING_ORDER, settings.seed),
        device=device,
        shuffle_shards=settings.shuffle_shards,
    )


def endless_batches(loader: Loader) -> Generator[Batch, None, None]:
    """Batches of one reshuffled pass after another; to be closed, which ends the reading ahead."""
    for epoch in count():
        yield from loader.epoch(epoch)  # closes the pass when it is closed itself
