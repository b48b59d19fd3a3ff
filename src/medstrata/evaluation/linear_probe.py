"""A ridge-penalised linear layer on frozen features: a probe, and the frozen protocol."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medstrata.data.labels import Task
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.setup import FitResult
from medstrata.metrics.intervals import score
from medstrata.metrics.kinds import TaskKind
from medstrata.models.features import StoredFeatures
from medstrata.models.heads import LinearHead, num_outputs, probabilities, task_loss
from medstrata.runs.metrics_log import MetricsLog
from medstrata.runs.trackers import Track

# Ridge strengths; validation picks one.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class PenaltyTrial:
    """One ridge strength: what it gives."""

    penalty: float
    train_loss: float
    val_loss: float
    val_score: float
    val: NDArray[np.float32]  # probabilities, (N, L)
    test: NDArray[np.float32]
    head: LinearHead


def fit_frozen(
    features: StoredFeatures, task: Task, parts: SplitRows, metric: str, out: Path, track: Track
) -> FitResult:
    """The frozen protocol: a probe of the pooled features, written down like epochs."""
    trials, best = fit_probe(features.pooled, features.rows, task, parts, metric)
    with closing(MetricsLog(out, track=track)) as metrics:
        for epoch, trial in enumerate(trials):
            metrics.write(
                {
                    "event": "epoch",
                    "epoch": epoch,
                    "step": epoch,
                    "penalty": trial.penalty,
                    "train_loss": trial.train_loss,
                    "val_loss": trial.val_loss,
                    "val_score": trial.val_score,
                    "metric": metric,
                    "time": {},
                }
            )
    return FitResult(best, trials[best].val, trials[best].test, trials[best].head)


def fit_probe(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    task: Task,
    parts: SplitRows,
    metric: str,
) -> tuple[list[PenaltyTrial], int]:
    """Fit a linear layer at each penalty, on features standardised by the training images.

    Args:
        features: Of all images that `parts` names, and perhaps of others, shape (N, D).
        rows: Their sample numbers, ascending, shape (N,).
        task: What to predict.
        parts: Trained on, chosen by, tested on.
        metric: What chooses the penalty.

    Returns:
        A trial for each penalty, and the place of the one with the best score on validation.
    """
    train, val, test = (
        torch.from_numpy(features[np.searchsorted(rows, part)])
        for part in (parts.train, parts.val, parts.test)
    )
    mean, std = train.mean(0), train.std(0, correction=0).clamp_min(1e-6)
    train, val, test = ((values - mean) / std for values in (train, val, test))
    train_targets, val_targets = (
        torch.from_numpy(task.targets[part]) for part in (parts.train, parts.val)
    )
    outputs = num_outputs(task.kind, len(task.classes))
    trials = []
    for penalty in _PENALTIES:
        layer, train_loss = fit_linear(train, train_targets, task.kind, outputs, penalty)
        with torch.no_grad():
            logits = layer(val)
            values = probabilities(logits, task.kind).numpy()
            tested = probabilities(layer(test), task.kind).numpy()
        val_loss = float(task_loss(logits, val_targets, task.kind))
        val_score = score(metric, task.targets[parts.val], values, task.kind)
        head = LinearHead(layer.weight.detach(), layer.bias.detach(), mean, std)
        trials.append(PenaltyTrial(penalty, train_loss, val_loss, val_score, values, tested, head))
    return trials, int(np.argmax([trial.val_score for trial in trials]))


def fit_linear(
    features: Tensor, targets: Tensor, kind: TaskKind, outputs: int, penalty: float
) -> tuple[nn.Linear, float]:
    """Fit a linear layer by L-BFGS: mean task loss + penalty / 2 x sum of squared weights.

    Args:
        features: Standardised features, shape (N, D).
        targets: As for `heads.task_loss`.
        kind: Label kind.
        outputs: Logits.
        penalty: Ridge strength, 0 or more; the objective is convex, so the start does not matter.

    Returns:
        The layer and the mean task loss at the optimum.
    """
    head = nn.Linear(features.shape[1], outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = task_loss(head(features), targets, kind) + penalty / 2 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    with torch.no_grad():
        return head, float(task_loss(head(features), targets, kind))
