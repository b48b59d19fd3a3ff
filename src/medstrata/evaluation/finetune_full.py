"""Full fine-tuning: every weight, on a part of the labels; what validates best is kept."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import TextColumn
from torch import Tensor, nn

from medstrata.evaluation.fit_result import FitResult
from medstrata.evaluation.linear_probe import best_trial, fit_probe
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.evaluation.tuned_network import Classifier
from medstrata.evaluation.tuning_batches import TuningBatches
from medstrata.evaluation.tuning_optimizer import make_optimizer
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import primary_metric
from medstrata.models.features import forward_all, whole_output
from medstrata.models.heads import (
    LinearHead,
    class_weights,
    num_outputs,
    probabilities,
    task_loss,
)
from medstrata.pretraining.schedule import lr_factor
from medstrata.runs.metrics_log import MetricsLog
from medstrata.runs.trackers import Track
from medstrata.runtime.console import progress_bar, say, warn
from medstrata.runtime.devices import spare_slow_convolutions
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class _Validation:
    """What a validation found, and where: `epoch` 0 is the start, before any training."""

    lr: float
    epoch: int
    train_loss: float
    val_loss: float
    score: float


@dataclass(frozen=True)
class _Best:
    """The validation with the best score, the first of equals; its weights are copies."""

    number: int  # of all validations, as in metrics.jsonl
    found: _Validation
    weights: dict[str, Tensor]


def fit_full(
    evaluation: Evaluation,
    parts: SplitRows,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    track: Track,
) -> FitResult:
    """Train every weight at each learning rate; what validates best is what is tested.

    The head starts from the read-out of the frozen encoder (linear probing, then fine-tuning), so
    that the first steps do not spoil the features for a head that knows nothing yet.

    Args:
        evaluation: The encoder, the task and the run folder; its encoder is trained in place.
        parts: Trained on, chosen by, tested on.
        settings: How to train.
        accelerator: Device and precision.
        track: Where the numbers of metrics.jsonl go as well.

    Returns:
        What the best validation gives, its weights in the encoder.

    Raises:
        MedstrataError: the training loss is not finite.

    Source: Kumar et al. 2022, arXiv:2202.10054, section 4 (LP-FT).
    """
    tuning = _Tuning(evaluation, parts, settings, accelerator)
    model, best, last = tuning.model, None, None
    bar = progress_bar(TextColumn("{task.fields[numbers]}"))
    shown = bar.add_task(f"fine-tuning {evaluation.out.name}", total=tuning.steps, numbers="")
    with bar, closing(MetricsLog(evaluation.out, track=track)) as metrics:
        number = -1
        for lr in settings.learning_rates:
            since = 0
            for found in tuning.validations(lr, lambda: bar.advance(shown)):
                if number >= 0 and found.epoch == 0:
                    continue  # every learning rate starts from the same weights
                number, since = number + 1, since + 1
                metrics.write(_record(number, found, tuning))
                bar.update(shown, numbers=f"loss {found.train_loss:.3f}  val {found.score:.3f}")
                if best is None or found.score > best.found.score:
                    best, since = _Best(number, found, _copied(model)), 0
                if since == settings.patience > 0:
                    break
            if settings.legacy and best is not None and best.found.lr == lr:
                last = _copied(model)
    assert best is not None
    _advise(best.found, settings)
    last_test = None
    if last is not None:
        model.load_state_dict(last)
        last_test = tuning.probabilities(parts.test)
    model.load_state_dict(best.weights)
    head = LinearHead(model.head.weight.detach().cpu(), model.head.bias.detach().cpu())
    return FitResult(
        best.number,
        tuning.probabilities(parts.val),
        tuning.probabilities(parts.test),
        head,
        last_test=last_test,
        lr=best.found.lr,
    )


class _Tuning:
    """A classifier, the images it is trained on, and its start, to which every rate returns."""

    def __init__(
        self,
        evaluation: Evaluation,
        parts: SplitRows,
        settings: FinetuneSettings,
        accelerator: Accelerator,
    ) -> None:
        task, loaded = evaluation.task, evaluation.loaded
        self.evaluation, self.parts, self.settings = evaluation, parts, settings
        self.accelerator, self.task = accelerator, task
        self.metric = primary_metric(task.kind, settings.metric)
        outputs = num_outputs(task.kind, len(task.classes))
        self.model = Classifier(loaded.backbone, outputs)
        if settings.head == "read-out":
            self.model.start_from(_read_out(evaluation, parts, self.metric, accelerator.device))
        self.model.to(accelerator.device).to(memory_format=torch.channels_last)
        spare_slow_convolutions(accelerator, self.model)
        self.start = _copied(self.model)
        self.targets = torch.tensor(task.targets)
        self.weights = None
        if settings.class_weights == "balanced":
            trained = self.targets[parts.train]
            self.weights = class_weights(trained, task.kind, len(task.classes))
        # Random weights have no statistics worth keeping.
        self.keeps_statistics = (
            evaluation.encoder.kind != "scratch"
            and len(parts.train) < settings.keep_statistics_below
        )
        batch = min(settings.batch_size, len(parts.train))
        self.per_epoch = max(len(parts.train) // batch, settings.min_steps)
        self.steps = len(settings.learning_rates) * settings.epochs * self.per_epoch

    def validations(self, lr: float, advance: Callable[[], None]) -> Iterator[_Validation]:
        """Train at a learning rate from the start, and validate there and after every epoch."""
        self.model.load_state_dict(self.start)
        if self.settings.head == "read-out":
            yield self._validate(lr, 0, float("nan"))
        optimizer, accelerator = make_optimizer(self.model, lr, self.settings), self.accelerator
        scales = [group["lr"] for group in optimizer.param_groups]
        steps = self.settings.epochs * self.per_epoch
        stream = TuningBatches(self.evaluation, self.parts.train, self.settings, accelerator.device)
        with closing(stream):
            for epoch in range(1, self.settings.epochs + 1):
                self._training_mode()
                losses = []
                for _ in range(self.per_epoch):
                    factor = lr_factor(
                        stream.step, steps=steps, warmup_steps=0, schedule=self.settings.schedule
                    )
                    for group, scale in zip(optimizer.param_groups, scales, strict=True):
                        group["lr"] = scale * factor
                    images, ids = next(stream)
                    losses.append(self._step(optimizer, images, self.targets[ids]))
                    advance()
                train_loss = float(torch.stack(losses).mean())
                _require_finite(train_loss, lr, epoch, self.evaluation.out)
                yield self._validate(lr, epoch, train_loss)

    def _training_mode(self) -> None:
        self.model.train()
        if self.keeps_statistics:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                    module.eval()

    def _step(self, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> Tensor:
        """One step of training; gives the loss before it."""
        with self.accelerator.autocast():
            logits = self.model(images)
        wanted = targets.to(logits.device)
        loss = task_loss(logits.float(), wanted, self.task.kind, self.weights)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    def _validate(self, lr: float, epoch: int, train_loss: float) -> _Validation:
        rows = self.parts.val
        logits, kind = self._logits(rows), self.task.kind
        return _Validation(
            lr,
            epoch,
            train_loss,
            float(task_loss(logits, self.targets[rows], kind)),
            score(self.metric, self.task.targets[rows], probabilities(logits, kind).numpy(), kind),
        )

    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of images by the model as it is, shape (N, L)."""
        values: NDArray[np.float32] = probabilities(self._logits(rows), self.task.kind).numpy()
        return values

    def _logits(self, rows: NDArray[np.int64]) -> Tensor:
        (logits,) = forward_all(
            self.model,
            self.evaluation.store,
            rows,
            self.evaluation.loaded.preprocessing,
            self.accelerator.device,
            whole_output,
        )
        return torch.from_numpy(logits)


def _read_out(
    evaluation: Evaluation, parts: SplitRows, metric: str, device: torch.device
) -> LinearHead:
    features = evaluation.features(device)
    trials = fit_probe(features, "pooled", evaluation.task, parts, metric)
    return trials[best_trial(trials)].head


def _record(number: int, found: _Validation, tuning: _Tuning) -> dict[str, Any]:
    """A validation as a line of metrics.jsonl; epochs are numbered over all learning rates."""
    record = {
        "event": "epoch",
        "epoch": number,
        "step": number * tuning.per_epoch,
        "lr": found.lr,
        "epoch_of_lr": found.epoch,
        "train_loss": found.train_loss,
        "val_loss": found.val_loss,
        "val_score": found.score,
        "metric": tuning.metric,
        "time": {},
    }
    return {name: value for name, value in record.items() if value == value}


def _advise(best: _Validation, settings: FinetuneSettings) -> None:
    """Say what the place of the best validation means."""
    if best.epoch == 0:
        say("no training of the network validated better than its read-out, which is tested")
    elif best.epoch == settings.epochs:
        warn(
            f"the best validation is the last one (learning rate {best.lr:g}, epoch {best.epoch}): "
            "more --epochs may score higher"
        )


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are now, in the memory of the host, which a GPU's need not share."""
    return {key: value.detach().to("cpu", copy=True) for key, value in model.state_dict().items()}


def _require_finite(loss: float, lr: float, epoch: int, out: Path) -> None:
    if not np.isfinite(loss):
        raise MedstrataError(
            f"{out}: training loss is {loss} in epoch {epoch} at learning rate {lr:g}; lower --lr"
        )
