"""Full fine-tuning: every weight, on a part of the labels; what validates best is kept."""

import copy
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import TextColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from medstrata.data.labels import Task
from medstrata.evaluation.fit_result import FitResult, validation_record
from medstrata.evaluation.linear_probe import best_trial, fit_probe
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.evaluation.tuned_network import Classifier
from medstrata.evaluation.tuning_batches import endless_batches, tuning_loader
from medstrata.evaluation.tuning_optimizer import make_optimizer
from medstrata.metrics.intervals import score
from medstrata.models.cpu_convolutions import replace_convolutions
from medstrata.models.features import forward_all, single_output
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
from medstrata.runtime.errors import MedstrataError

_Weights = dict[str, Tensor]


@dataclass(frozen=True)
class _Best:
    """The validation with the best score, the first of equals."""

    number: int  # of all validations, as in metrics.jsonl
    lr: float
    epoch: int  # at this learning rate; 0 is the start, before any training
    score: float
    weights: _Weights


def fit_full(
    evaluation: Evaluation,
    parts: SplitRows,
    metric: str,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    track: Track,
) -> FitResult:
    """Train every weight at each learning rate; what validates best is what is tested.

    The head starts from the read-out of the frozen encoder (linear probing, then fine-tuning), so
    that the first steps do not spoil the features for a head that knows nothing yet.

    Args:
        evaluation: The encoder, the task and the run folder; its encoder stays as it is.
        parts: Trained on, chosen by, tested on.
        metric: What chooses.
        settings: How to train.
        accelerator: Device and precision.
        track: Where the numbers of metrics.jsonl go as well.

    Returns:
        What the best validation gives, with the encoder that gave it.

    Raises:
        MedstrataError: the training loss is not finite.

    Source: Kumar et al. 2022, arXiv:2202.10054, section 4 (LP-FT).
    """
    model = _starting_model(evaluation, parts, metric, settings, accelerator)
    best, last = _search(evaluation, parts, metric, model, settings, accelerator, track)
    _advise(best, settings)
    predict = partial(_predict, model, evaluation, accelerator.device)
    last_test = None
    if last is not None:
        model.load_state_dict(last)
        last_test = predict(parts.test)
    model.load_state_dict(best.weights)
    head = LinearHead(model.head.weight.detach().cpu(), model.head.bias.detach().cpu())
    return FitResult(
        best.number,
        predict(parts.val),
        predict(parts.test),
        head,
        last_test=last_test,
        lr=best.lr,
        encoder=evaluation.loaded._replace(backbone=model.backbone),
    )


def _search(
    evaluation: Evaluation,
    parts: SplitRows,
    metric: str,
    model: Classifier,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    track: Track,
) -> tuple[_Best, _Weights | None]:
    """Train at each learning rate from the same start, validate every epoch, keep the best.

    An epoch is one pass over the labelled images, but `min_steps` steps at least. Epoch 0 has no
    steps: it validates the start, once for all learning rates.

    Returns:
        The best, and for the legacy figures the weights at the end of its learning rate.
    """
    task, device = evaluation.task, accelerator.device
    targets = torch.tensor(task.targets, device=device)
    weights = _class_weights(task, parts.train, settings)
    loader = tuning_loader(evaluation, parts.train, settings, device)
    steps_per_epoch = max(loader.steps_per_epoch, settings.min_steps)
    steps, schedule = settings.epochs * steps_per_epoch, settings.schedule
    factor = partial(lr_factor, steps=steps, warmup_steps=0, schedule=schedule)
    start, first_epoch = _copied(model), 0 if settings.head == "read-out" else 1
    best, last, number = None, None, 0
    bar = progress_bar(TextColumn("{task.fields[numbers]}"))
    total = len(settings.learning_rates) * steps
    shown = bar.add_task(f"fine-tuning {evaluation.out.name}", total=total, numbers="")
    with bar, closing(MetricsLog(evaluation.out, track=track)) as log:
        for lr in settings.learning_rates:
            model.load_state_dict(start)
            optimizer = make_optimizer(model, lr, settings)
            scheduler = LambdaLR(optimizer, factor)
            with closing(endless_batches(loader)) as batches:
                for epoch in range(first_epoch, settings.epochs + 1):
                    _training_mode(model, evaluation, parts, settings)
                    losses = []
                    for batch in islice(batches, steps_per_epoch if epoch else 0):
                        images = evaluation.loaded.preprocessing(batch.views[0])
                        with accelerator.autocast():
                            logits = model(images)
                        loss = task_loss(logits.float(), targets[batch.ids], task.kind, weights)
                        loss.backward()
                        optimizer.step()
                        scheduler.step()
                        optimizer.zero_grad()
                        losses.append(loss.detach())
                        bar.advance(shown)
                    train_loss = _mean(losses, lr, epoch, evaluation.out)
                    val_loss, val_score = _validate(
                        model, evaluation, device, parts.val, metric, (lr, epoch)
                    )
                    log.write(
                        validation_record(
                            number,
                            number * steps_per_epoch,
                            {"lr": lr, "epoch_of_lr": epoch},
                            train_loss=train_loss,
                            val_loss=val_loss,
                            val_score=val_score,
                            metric=metric,
                        )
                    )
                    bar.update(shown, numbers=f"loss {train_loss:.3f}  val {val_score:.3f}")
                    if best is None or val_score > best.score:
                        best = _Best(number, lr, epoch, val_score, _copied(model))
                    number += 1
                    without_gain = epoch - (best.epoch if best.lr == lr else 0)
                    if without_gain == settings.patience > 0:
                        break
            first_epoch = 1  # the start is the same at every learning rate
            if settings.legacy and best is not None and best.lr == lr:
                last = _copied(model)
    assert best is not None
    return best, last


def _starting_model(
    evaluation: Evaluation,
    parts: SplitRows,
    metric: str,
    settings: FinetuneSettings,
    accelerator: Accelerator,
) -> Classifier:
    """A copy of the encoder with a head on it, where it is trained."""
    task, device = evaluation.task, accelerator.device
    outputs = num_outputs(task.kind, len(task.classes))
    model = Classifier(copy.deepcopy(evaluation.loaded.backbone), outputs)
    if settings.head == "read-out":
        trials = fit_probe(evaluation.features(device), "pooled", task, parts, metric)
        model.start_from(trials[best_trial(trials)].head)
    model.to(device).to(memory_format=torch.channels_last)
    replace_convolutions(accelerator, model)
    return model


def _class_weights(
    task: Task, rows: NDArray[np.int64], settings: FinetuneSettings
) -> Tensor | None:
    if settings.class_weights == "equal":
        return None
    return class_weights(torch.tensor(task.targets[rows]), task.kind, len(task.classes))


def _training_mode(
    model: Classifier, evaluation: Evaluation, parts: SplitRows, settings: FinetuneSettings
) -> None:
    """Let layers behave as in training, but for BatchNorm where labels are few."""
    model.train()
    # Random weights have no statistics worth keeping.
    trained = evaluation.encoder.kind != "scratch"
    if trained and len(parts.train) < settings.keep_statistics_below:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
                module.eval()


def _mean(losses: list[Tensor], lr: float, epoch: int, out: Path) -> float:
    """Of the steps of an epoch; NaN where there were none.

    Raises:
        MedstrataError: it is not finite.
    """
    if not losses:
        return float("nan")
    mean = float(torch.stack(losses).mean())
    if not np.isfinite(mean):
        raise _diverged(out, f"training loss is {mean}", lr, epoch)
    return mean


def _diverged(out: Path, what: str, lr: float, epoch: int) -> MedstrataError:
    return MedstrataError(f"{out}: {what} in epoch {epoch} at learning rate {lr:g}; lower --lr")


def _validate(
    model: Classifier,
    evaluation: Evaluation,
    device: torch.device,
    rows: NDArray[np.int64],
    metric: str,
    at: tuple[float, int],
) -> tuple[float, float]:
    """Mean loss in nats and score of images by the model as it is.

    Raises:
        MedstrataError: an output is not finite; named are learning rate and epoch, `at`.
    """
    targets, kind = evaluation.task.targets[rows], evaluation.task.kind
    logits = _logits(model, evaluation, device, rows)
    if not bool(torch.isfinite(logits).all()):
        raise _diverged(evaluation.out, "an output for a validation image is not finite", *at)
    loss = float(task_loss(logits, torch.tensor(targets), kind))
    return loss, score(metric, targets, probabilities(logits, kind).numpy(), kind)


def _predict(
    model: Classifier, evaluation: Evaluation, device: torch.device, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Probabilities of images by the model as it is, shape (N, L)."""
    logits = _logits(model, evaluation, device, rows)
    values: NDArray[np.float32] = probabilities(logits, evaluation.task.kind).numpy()
    return values


def _logits(
    model: Classifier, evaluation: Evaluation, device: torch.device, rows: NDArray[np.int64]
) -> Tensor:
    preprocessing = evaluation.loaded.preprocessing
    (logits,) = forward_all(model, evaluation.store, rows, preprocessing, device, single_output)
    return torch.from_numpy(logits)


def _advise(best: _Best, settings: FinetuneSettings) -> None:
    """Say what the place of the best validation means."""
    if best.epoch == 0:
        say("no training of the network validated better than its read-out, which is tested")
    elif best.epoch == settings.epochs:
        warn(
            f"the best validation is the last one (learning rate {best.lr:g}, epoch {best.epoch}): "
            "more --epochs may score higher"
        )


def _copied(model: nn.Module) -> _Weights:
    """The weights as they are now, in the memory of the host, which a GPU's need not share."""
    return {key: value.detach().to("cpu", copy=True) for key, value in model.state_dict().items()}
