"""What a protocol of fine-tuning gives: probabilities, and the layer that gave them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medstrata.models.heads import LinearHead


@dataclass(frozen=True)
class FitResult:
    """What a protocol returns: probabilities and where they came from."""

    best_epoch: int
    val: NDArray[np.float32]  # probabilities, (N, L)
    test: NDArray[np.float32]
    head: LinearHead  # on the CPU
    layer: str = "pooled"  # what the head reads, as `StoredFeatures.layer` names it
    last_test: NDArray[np.float32] | None = None  # of the last epoch, for the legacy figures
    lr: float | None = None  # the learning rate that was chosen, of a full fine-tuning
