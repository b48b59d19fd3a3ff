"""What a run learns, looked at after each epoch on fixed images: spread, rank, neighbours.

The numbers are read, never trained on; encoder, statistics and queue stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.splits import labelled_rows
from medstrata.data.store.store import Store
from medstrata.metrics.intervals import score
from medstrata.metrics.knn import knn_probabilities
from medstrata.metrics.metric import primary_metric
from medstrata.metrics.spectrum import effective_rank, feature_norm, spread
from medstrata.models.backbones import Backbone
from medstrata.models.features import StoredFeatures, extract_features
from medstrata.models.preprocessing import Preprocessing
from medstrata.runtime.randomness import Stream, permutation

# Enough for a rank estimate of the widest stage and for the neighbours, little enough to be free.
_SPECTRUM_IMAGES = 1024
_NEIGHBOUR_IMAGES = 4096
_LOW_RANK = 0.02
_LOW_SPREAD = 0.02


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Fixed images on which an encoder is looked at.

    Attributes:
        store: Where the pixels are.
        preprocessing: What the encoder expects.
        device: Where the encoder is.
        spectrum_rows: Images for norm, spread and rank.
        task: Labels for the neighbours, or None.
        bank_rows: Training images that vote.
        query_rows: Validation images that are classified.
    """

    store: Store
    preprocessing: Preprocessing
    device: torch.device
    spectrum_rows: NDArray[np.int64]
    task: Task | None
    bank_rows: NDArray[np.int64]
    query_rows: NDArray[np.int64]

    def evaluate(self, backbone: Backbone) -> dict[str, object]:
        """Norm and effective rank per stage, the k-NN score, and warnings in words.

        Raises:
            FloatingPointError: a feature is not finite.
        """
        # The images that vote are mostly those of the spectrum: each goes through once.
        rows = np.unique(np.concatenate([self.spectrum_rows, self.bank_rows, self.query_rows]))
        features = extract_features(backbone, self.store, rows, self.preprocessing, self.device)
        per_stage = features.at(self.spectrum_rows).layers()
        for stage, values in features.layers().items():
            if not np.isfinite(values).all():
                raise FloatingPointError(f"features of {stage} are not finite")
        ranks = {stage: effective_rank(values) for stage, values in per_stage.items()}
        return {
            "feature_norm": {stage: feature_norm(values) for stage, values in per_stage.items()},
            "effective_rank": ranks,
            "knn": self._knn(features),
            "warnings": collapse_warnings(per_stage["pooled"], ranks["pooled"]),
        }

    def _knn(self, features: StoredFeatures) -> Mapping[str, object] | None:
        if self.task is None or not len(self.bank_rows) or not len(self.query_rows):
            return None
        targets = self.task.targets
        probabilities = knn_probabilities(
            features.at(self.bank_rows).pooled,
            targets[self.bank_rows],
            features.at(self.query_rows).pooled,
            self.task.kind,
            len(self.task.classes),
        )
        metric = primary_metric(self.task.kind)
        value = score(metric, targets[self.query_rows], probabilities, self.task.kind)
        return {"task": self.task.name, "metric": metric, "value": value}


def make_monitor(
    store: Store,
    rows: NDArray[np.int64],
    task: Task | None,
    preprocessing: Preprocessing,
    device: torch.device,
    seed: int,
    shuffle_shards: int | None = None,
) -> Monitor:
    """Choose the fixed images: trained-on ones for the spectrum, train and val for neighbours.

    Where training mixes only some shards at a time, the images are of as many shards, so that a
    look at them does not read the whole store; unless these lack a class.

    Args:
        store: Images, labels and splits.
        rows: Sample numbers of the images that are trained on, shape (N,).
        task: What neighbours vote on; None leaves k-NN out.
        preprocessing: What the encoder expects.
        device: Where the encoder is looked at.
        seed: Chooses the images.
        shuffle_shards: How many shards training mixes at a time; None mixes all.
    """
    shards = permutation(int(store.shards.max()) + 1, Stream.MONITORED_SHARDS, seed)[
        :shuffle_shards
    ]

    def some(candidates: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        near = candidates[np.isin(store.shards[candidates], shards)]
        if task is None or task.targets.ndim == 2 or classes(near) == classes(candidates):
            candidates = near
        return np.sort(
            candidates[permutation(len(candidates), Stream.MONITORED_IMAGES, seed)[:count]]
        )

    def classes(rows: NDArray[np.int64]) -> set[int]:
        return set() if task is None else set(np.unique(task.targets[rows]).tolist())

    def labelled(split: str) -> NDArray[np.int64]:
        return labelled_rows(store, task, split) if task else store.rows(split)[:0]

    return Monitor(
        store=store,
        preprocessing=preprocessing,
        device=device,
        spectrum_rows=some(rows, _SPECTRUM_IMAGES),
        task=task,
        bank_rows=some(labelled("train"), _NEIGHBOUR_IMAGES),
        query_rows=some(labelled("val"), _NEIGHBOUR_IMAGES),
    )


def collapse_warnings(pooled: NDArray[np.float32], rank: float) -> list[str]:
    """Say in words when the pooled features no longer tell images apart."""
    possible = min(pooled.shape[1], len(pooled) - 1)
    found = []
    if spread(pooled) < _LOW_SPREAD:
        found.append(
            f"features hardly differ between images (relative spread {spread(pooled):.3f}): the "
            "encoder is collapsing; lower the learning rate or the intermediate weights"
        )
    if rank < max(2.0, _LOW_RANK * possible):
        found.append(
            f"features use {rank:.1f} of {possible} directions: dimensional collapse; lower the "
            "intermediate weights or raise the temperature"
        )
    return found
