"""Full fine-tuning: every weight, on a part of the labels; the best epoch by validation is kept."""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import TextColumn
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medstrata.data.labels import Task
from medstrata.data.loader import Loader
from medstrata.data.store.store import Store
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation, FitResult
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import metric_for
from medstrata.models.backbones import Backbone, Features
from medstrata.models.features import forward_all, whole_output
from medstrata.models.heads import LinearHead, num_outputs, probabilities, task_loss
from medstrata.models.preprocessing import Preprocessing
from medstrata.pretraining.schedule import lr_factor
from medstrata.runs.metrics_log import MetricsLog
from medstrata.runs.trackers import Track
from medstrata.runtime.console import progress_bar
from medstrata.runtime.devices import spare_slow_convolutions
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.randomness import Stream, derive_seed


class Classifier(nn.Module):
    """A backbone and a linear layer on its pooled features; the layer starts at zero."""

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.embed_dim, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, outputs)."""
        features: Features = self.backbone(images)
        logits: Tensor = self.head(features.pooled)
        return logits


@dataclass(frozen=True)
class _Best:
    """The epoch that validates best, the first of equals; its weights are copies."""

    epoch: int
    score: float
    weights: dict[str, Tensor]


def fit_full(
    evaluation: Evaluation,
    parts: SplitRows,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    track: Track,
) -> FitResult:
    """Train every weight with Adam; the epoch that validates best is the one that is tested."""
    store, task, loaded, out = evaluation.store, evaluation.task, evaluation.loaded, evaluation.out
    device, metric = accelerator.device, metric_for(task.kind, settings.metric)
    outputs = num_outputs(task.kind, len(task.classes))
    model = Classifier(loaded.backbone, outputs).to(device).to(memory_format=torch.channels_last)
    spare_slow_convolutions(accelerator, model)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    targets = torch.tensor(task.targets)
    stream = _Batches(store, parts.train, loaded.preprocessing, settings, device)
    per_epoch = max(stream.loader.steps_per_epoch, settings.min_steps)
    steps = settings.epochs * per_epoch
    best: _Best | None = None

    def logits_of(rows: NDArray[np.int64]) -> Tensor:
        (logits,) = forward_all(model, store, rows, loaded.preprocessing, device, whole_output)
        return torch.from_numpy(logits)

    def probabilities_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = probabilities(logits_of(rows), task.kind).numpy()
        return values

    bar = progress_bar(TextColumn("{task.fields[numbers]}"))
    shown = bar.add_task(f"fine-tuning {out.name}", total=steps, numbers="")
    with bar, closing(stream), closing(MetricsLog(out, track=track)) as metrics:
        for epoch in range(settings.epochs):
            model.train()
            started, losses = time.perf_counter(), []
            for _ in range(per_epoch):
                factor = lr_factor(
                    stream.step, steps=steps, warmup_steps=0, schedule=settings.schedule
                )
                optimizer.param_groups[0]["lr"] = settings.lr * factor
                images, ids = next(stream)
                wanted = targets[ids].to(device)
                losses.append(_step(model, optimizer, images, wanted, task, accelerator))
                bar.advance(shown)
            train_loss = float(torch.stack(losses).mean())
            _require_finite(train_loss, epoch, out)
            record = _validate(logits_of(parts.val), targets[parts.val], task, metric)
            numbers = {"epoch": epoch, "step": stream.step, "train_loss": train_loss, **record}
            seconds = {"seconds": time.perf_counter() - started}
            metrics.write({"event": "epoch", **numbers, "time": seconds})
            value = record["val_score"]
            bar.update(shown, numbers=f"loss {train_loss:.3f}  val {value:.3f}")
            if best is None or value > best.score:
                best = _Best(epoch, value, _copied(model))
    assert best is not None
    last_test = probabilities_of(parts.test) if settings.legacy else None
    model.load_state_dict(best.weights)
    head = LinearHead(model.head.weight.detach().cpu(), model.head.bias.detach().cpu())
    return FitResult(
        best.epoch, probabilities_of(parts.val), probabilities_of(parts.test), head, last_test
    )


def _validate(logits: Tensor, targets: Tensor, task: Task, metric: str) -> dict[str, Any]:
    values = probabilities(logits, task.kind).numpy()
    return {
        "val_loss": float(task_loss(logits, targets, task.kind)),
        "val_score": score(metric, targets.numpy(), values, task.kind),
        "metric": metric,
    }


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now, in the memory of the host, which a GPU's need not share."""
    return {key: value.detach().to("cpu", copy=True) for key, value in model.state_dict().items()}


def _step(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Tensor,
    task: Task,
    accelerator: Accelerator,
) -> Tensor:
    """One step of training; gives the loss before it."""
    with accelerator.autocast():
        logits = model(images)
    loss = task_loss(logits.float(), targets, task.kind)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def load_tuned(backbone: Backbone, weights: Path) -> None:
    """Give a backbone the weights of a full fine-tuning.

    Raises:
        MedstrataError: the file is missing or damaged, or is of another network.
    """
    if not weights.is_file():
        raise MedstrataError(f"no fine-tuned weights at {weights}; fine-tune again to have them")
    try:
        backbone.model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise MedstrataError(
            f"{weights} does not hold this network ({type(error).__name__}); fine-tune again"
        ) from error


class _Batches:
    """Batches of (input, sample numbers) without end, one reshuffled pass after another."""

    def __init__(
        self,
        store: Store,
        rows: NDArray[np.int64],
        preprocessing: Preprocessing,
        settings: FinetuneSettings,
        device: torch.device,
    ) -> None:
        self.loader = Loader(
            store=store,
            rows=rows,
            settings=replace(settings.views, size=preprocessing.image_size),
            batch_size=min(settings.batch_size, len(rows)),
            views=1,
            seed=derive_seed(Stream.FINETUNING_ORDER, settings.seed),
            device=device,
            shuffle_shards=settings.shuffle_shards,
        )
        self.step = 0
        self._preprocessing = preprocessing
        self._batches = self.loader.epoch(0)

    def __next__(self) -> tuple[Tensor, Tensor]:
        if self.step and self.step % self.loader.steps_per_epoch == 0:
            self._batches.close()
            self._batches = self.loader.epoch(self.step // self.loader.steps_per_epoch)
        self.step += 1
        batch = next(self._batches)
        return self._preprocessing(batch.views[0]), batch.ids

    def close(self) -> None:
        self._batches.close()


def _require_finite(loss: float, epoch: int, out: Path) -> None:
    if not np.isfinite(loss):
        raise MedstrataError(f"{out}: training loss is {loss} in epoch {epoch}; lower --lr")
