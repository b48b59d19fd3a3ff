"""What a protocol of fine-tuning gives: its validations, probabilities, and what gave them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.models.encoders import LoadedEncoder
from medstrata.models.heads import LinearHead


@dataclass(frozen=True)
class FitResult:
    """What a protocol returns: probabilities and where they came from."""

    best_validation: int  # its number, as `validation_record` counts them
    val: NDArray[np.float32]  # probabilities, (N, L)
    test: NDArray[np.float32]
    head: LinearHead  # on the CPU
    layer: str = "pooled"  # what the head reads, as `StoredFeatures.layer` names it
    last_test: NDArray[np.float32] | None = None  # of the last epoch, for the legacy figures
    lr: float | None = None  # the learning rate that was chosen, of a full fine-tuning
    encoder: LoadedEncoder | None = None  # as it was tuned; None where it was kept frozen


def validation_record(
    number: int,
    step: int,
    tried: Mapping[str, str | float],
    *,
    train_loss: float,
    val_loss: float,
    val_score: float,
    metric: str,
) -> dict[str, Any]:
    """A validation as a line of metrics.jsonl.

    Args:
        number: Which of all validations of the run, over all learning rates or penalties, from 0.
        step: Steps of training before it; the frozen protocol counts its validations.
        tried: What was validated, such as the learning rate, by the names in the line.
        train_loss: Mean loss in nats since the validation before; NaN before any training,
            and then left out.
        val_loss: Mean loss in nats on the validation images.
        val_score: Theirs by `metric`.
        metric: What chooses.
    """
    trained = {} if math.isnan(train_loss) else {"train_loss": train_loss}
    return {
        "event": "epoch",
        "validation": number,
        "step": step,
        **tried,
        **trained,
        "val_loss": val_loss,
        "val_score": val_score,
        "metric": metric,
        "time": {},
    }
