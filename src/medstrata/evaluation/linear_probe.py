"""A ridge-penalised linear layer on frozen features: a probe, the frozen protocol, a first head.

Which features are read and how strong the penalty is, validation chooses, the same way for every
encoder.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medstrata.data.labels import Task
from medstrata.evaluation.fit_result import FitResult, validation_record
from medstrata.evaluation.rows import SplitRows
from medstrata.metrics.intervals import score
from medstrata.metrics.kinds import TaskKind
from medstrata.models.features import StoredFeatures
from medstrata.models.heads import LinearHead, num_outputs, probabilities, task_loss
from medstrata.runs.metrics_log import MetricsLog
from medstrata.runs.trackers import Track
from medstrata.runtime.console import warn

# Ridge strengths, strongest first: of the summed loss, so that one value means the same prior at
# 20 images and at 20,000 (scikit-learn's 1 / C).
PENALTIES = tuple(10.0 ** (half / 2) for half in range(11, -3, -1))


@dataclass(frozen=True)
class PenaltyTrial:
    """One ridge strength on the features of one layer: what it gives."""

    layer: str
    penalty: float
    train_loss: float
    val_loss: float
    val_score: float
    val: NDArray[np.float32]  # probabilities, (N, L)
    head: LinearHead


def fit_frozen(
    features: StoredFeatures,
    task: Task,
    parts: SplitRows,
    metric: str,
    layers: Sequence[str],
    out: Path,
    track: Track,
) -> FitResult:
    """The frozen protocol: the best probe of some layers, every trial written down like an epoch.

    Args:
        features: Of all images that `parts` names.
        task: What to predict.
        parts: Trained on, chosen by, tested on.
        metric: What chooses layer and penalty.
        layers: Which of the features; more than one lets validation choose.
        out: The run folder.
        track: Where the numbers go as well.
    """
    distinct = dict.fromkeys(first_alike(features, layers).values())
    trials = [
        trial for layer in distinct for trial in fit_probe(features, layer, task, parts, metric)
    ]
    with closing(MetricsLog(out, track=track)) as metrics:
        for number, trial in enumerate(trials):
            metrics.write(
                validation_record(
                    number,
                    number,
                    {"layer": trial.layer, "penalty": trial.penalty},
                    train_loss=trial.train_loss,
                    val_loss=trial.val_loss,
                    val_score=trial.val_score,
                    metric=metric,
                )
            )
    best = best_trial(trials)
    chosen = trials[best]
    warn_if_at_grid_end(chosen)
    tested = predict_linear(chosen.head, layer_at(features, chosen.layer, parts.test), task.kind)
    return FitResult(best, chosen.val, tested, chosen.head, chosen.layer)


def first_alike(features: StoredFeatures, layers: Iterable[str]) -> dict[str, str]:
    """Of each layer the first that equals it, itself as a rule: pooled is often the last stage."""
    first: dict[str, str] = {}
    for layer in layers:
        values = features.layer(layer)
        distinct = dict.fromkeys(first.values())
        alike = (one for one in distinct if np.array_equal(features.layer(one), values))
        first[layer] = next(alike, layer)
    return first


def layer_at(features: StoredFeatures, layer: str, rows: NDArray[np.int64]) -> Tensor:
    """One layer's features of some of the images, in the order of `rows`: (N, D)."""
    return torch.from_numpy(features.layer(layer)[np.searchsorted(features.rows, rows)])


def fit_probe(
    features: StoredFeatures, layer: str, task: Task, parts: SplitRows, metric: str
) -> list[PenaltyTrial]:
    """Fit a linear layer at each of `PENALTIES`, the strongest first; no test image is looked at.

    Mean and deviation of every training image, with a label or without, standardise the features:
    twenty labelled images tell a deviation badly, and no label is needed for it.

    Args:
        features: Of all images that `parts` names, and perhaps of others.
        layer: Which of the features.
        task: What to predict.
        parts: Trained on, chosen by, standardised by.
        metric: What is scored on validation.
    """
    every = layer_at(features, layer, parts.standardising)
    mean, std = every.mean(0), every.std(0, correction=0).clamp_min(1e-6)
    train, val = (
        (layer_at(features, layer, part) - mean) / std for part in (parts.train, parts.val)
    )
    train_targets, val_targets = (
        torch.from_numpy(task.targets[part]) for part in (parts.train, parts.val)
    )
    outputs = num_outputs(task.kind, len(task.classes))
    trials = []
    for penalty, fitted, train_loss in fit_linear(
        train, train_targets, task.kind, outputs, PENALTIES
    ):
        logits = fitted(val)
        values = probabilities(logits, task.kind).numpy()
        trials.append(
            PenaltyTrial(
                layer,
                penalty,
                train_loss,
                float(task_loss(logits, val_targets, task.kind)),
                score(metric, task.targets[parts.val], values, task.kind),
                values,
                fitted._replace(mean=mean, std=std),
            )
        )
    return trials


def best_trial(trials: Sequence[PenaltyTrial]) -> int:
    """The place of the trial with the best score on validation, of equals the strongest penalty."""
    return max(
        range(len(trials)), key=lambda place: (trials[place].val_score, trials[place].penalty)
    )


def predict_linear(head: LinearHead, features: Tensor, kind: TaskKind) -> NDArray[np.float32]:
    """Probabilities of images by a fitted layer, shape (N, L)."""
    values: NDArray[np.float32] = probabilities(head(features), kind).numpy()
    return values


def warn_if_at_grid_end(chosen: PenaltyTrial) -> None:
    """Say when the chosen penalty is the strongest or the weakest on offer."""
    if chosen.penalty in (PENALTIES[0], PENALTIES[-1]):
        end = "strongest" if chosen.penalty == PENALTIES[0] else "weakest"
        warn(
            f"validation chose the {end} penalty on offer ({chosen.penalty:g}, {chosen.layer}): "
            "the features may say little of this task, or validation is too small to choose by"
        )


def fit_linear(
    features: Tensor,
    targets: Tensor,
    kind: TaskKind,
    outputs: int,
    penalties: Sequence[float],
) -> list[tuple[float, LinearHead, float]]:
    """Fit linear layers by L-BFGS: summed task loss + penalty / 2 x sum of squared weights.

    Where there are fewer images than features, the weights lie in the span of the images, so the
    problem is solved in as many dimensions as there are images (one factorisation for all
    penalties), which changes nothing: the basis is orthonormal and keeps the penalty. Each fit
    starts from the one before.

    Args:
        features: Standardised features, shape (N, D).
        targets: As for `heads.task_loss`.
        kind: Label kind.
        outputs: Logits.
        penalties: Ridge strengths, 0 or more, the strongest first.

    Returns:
        For each penalty itself, the layer and the mean task loss at the optimum.
    """
    values, basis = features.double(), None
    if len(values) < values.shape[1]:
        left, scale, basis = torch.linalg.svd(values, full_matrices=False)
        values = left * scale
    layer = nn.Linear(values.shape[1], outputs, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    fitted = []
    for penalty in penalties:
        loss = _minimise(layer, values, targets, kind, penalty / len(values))
        weight = layer.weight.detach() if basis is None else layer.weight.detach() @ basis
        head = LinearHead(weight.float(), layer.bias.detach().float())
        fitted.append((penalty, head, loss))
    return fitted


def _minimise(
    layer: nn.Linear, features: Tensor, targets: Tensor, kind: TaskKind, penalty: float
) -> float:
    """Bring a layer to the optimum; gives the mean task loss there."""
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = task_loss(layer(features), targets, kind) + penalty / 2 * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    with torch.no_grad():
        return float(task_loss(layer(features), targets, kind))
