"""The labelled images of a fine-tuning, batch by batch."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medstrata.data.loader import Loader
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.runtime.randomness import Stream, derive_seed


class TuningBatches:
    """Batches of (input, sample numbers) without end, one reshuffled pass after another."""

    def __init__(
        self,
        evaluation: Evaluation,
        rows: NDArray[np.int64],
        settings: FinetuneSettings,
        device: torch.device,
    ) -> None:
        self._preprocessing = evaluation.loaded.preprocessing
        self.loader = Loader(
            store=evaluation.store,
            rows=rows,
            settings=replace(settings.views, size=self._preprocessing.image_size),
            batch_size=min(settings.batch_size, len(rows)),
            views=1,
            seed=derive_seed(Stream.FINETUNING_ORDER, settings.seed),
            device=device,
            shuffle_shards=settings.shuffle_shards,
        )
        self.step = 0
        self._batches = self.loader.epoch(0)

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self.step and self.step % self.loader.steps_per_epoch == 0:
            self._batches.close()
            self._batches = self.loader.epoch(self.step // self.loader.steps_per_epoch)
        self.step += 1
        batch = next(self._batches)
        return self._preprocessing(batch.views[0]), batch.ids

    def close(self) -> None:
        """End the threads that read ahead."""
        self._batches.close()
