"""The frozen protocol: a ridge-penalised linear layer on features that are extracted once."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from medstrata.data.labels import Task
from medstrata.data.store import Store
from medstrata.features import extract_features
from medstrata.heads import num_outputs, probabilities, task_loss
from medstrata.metrics import metric_for
from medstrata.supervised import Fitted, Parts, primary_score
from medstrata.tracking import Metrics
from medstrata.weighted import Kind
from medstrata.weights import LoadedEncoder

# Ridge strengths of the frozen protocol; validation picks one.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def fit_frozen(
    loaded: LoadedEncoder,
    store: Store,
    task: Task,
    parts: Parts,
    device: torch.device,
    out: Path,
) -> Fitted:
    """A ridge on features that are extracted once; validation picks the penalty."""
    backbone = loaded.backbone.to(device).to(memory_format=torch.channels_last)
    train, val, test = (
        torch.from_numpy(
            extract_features(backbone, store, rows, loaded.preprocessing, device).pooled
        )
        for rows in (parts.train, parts.val, parts.test)
    )
    mean, std = train.mean(0), train.std(0, correction=0).clamp_min(1e-6)
    train, val, test = ((features - mean) / std for features in (train, val, test))
    targets = torch.from_numpy(task.targets[parts.train])
    outputs = num_outputs(task.kind, len(task.classes))
    metrics, best, chosen = Metrics(out), -np.inf, None
    for epoch, penalty in enumerate(_PENALTIES):
        head, train_loss = fit_linear(train, targets, task.kind, outputs, penalty)
        with torch.no_grad():
            logits = head(val)
            values = probabilities(logits, task.kind).numpy()
            tested = probabilities(head(test), task.kind).numpy()
        value = primary_score(task, parts.val, values)
        known = torch.from_numpy(task.targets[parts.val])
        metrics.write(
            {
                "event": "epoch",
                "epoch": epoch,
                "step": epoch,
                "penalty": penalty,
                "train_loss": train_loss,
                "val_loss": float(task_loss(logits, known, task.kind)),
                "val_score": value,
                "metric": metric_for(task.kind),
                "time": {},
            }
        )
        if value > best:
            best, chosen = value, Fitted(epoch, values, tested)
    metrics.close()
    assert chosen is not None
    return chosen


def fit_linear(
    features: Tensor, targets: Tensor, kind: Kind, outputs: int, penalty: float
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
