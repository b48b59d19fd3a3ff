"""Low-label evaluation: train a classifier on a fraction of the labels, score it on test once."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import TextColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medstrata.backbones import Backbone, Features
from medstrata.console import progress_bar, say
from medstrata.data.labels import Kind, Task, make_task
from medstrata.data.splits import label_subset
from medstrata.data.store import Store
from medstrata.devices import device_name, mixed_precision
from medstrata.errors import MedstrataError
from medstrata.features import extract_features, forward_all
from medstrata.files import replacing
from medstrata.heads import num_outputs, probabilities, task_loss
from medstrata.loader import Loader
from medstrata.metrics import METRICS, bootstrap_interval, metric_for, score
from medstrata.monitors import known_rows
from medstrata.preprocessing import Preprocessing
from medstrata.randomness import derive_seed
from medstrata.run import open_run, read_result, settings_dict, write_result
from medstrata.schedule import lr_factor
from medstrata.settings import FinetuneSettings
from medstrata.tracking import Metrics
from medstrata.weights import LoadedEncoder, load_encoder

_HEAD, _ORDER = range(1010, 1012)
# Ridge strengths of the frozen protocol; validation picks one.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


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
class Parts:
    """Sample numbers with a known label: the training subset, validation and test."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """What a protocol returns: probabilities and where they came from."""

    best_epoch: int
    val: NDArray[np.float32]  # probabilities, (N, L)
    test: NDArray[np.float32]


def finetune(
    encoder: str,
    store: Store,
    task: str,
    fraction: float,
    out: Path,
    settings: FinetuneSettings | None = None,
    *,
    kind: Kind | None = None,
    backbone: str | None = None,
    arm: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train on a fraction of the labels, choose by validation, score every test image once.

    Args:
        encoder: A pre-training run, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        fraction: Share of the labelled training images, above 0 up to 1; whole patients.
        out: The run folder.
        settings: How to train.
        kind: Overrides the guessed kind of the labels.
        backbone: timm's name, for `scratch` and `imagenet`.
        arm: Name in tables; by default the run's recipe, `scratch` or `imagenet`.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.

    Returns:
        The run folder, with `result.json`, `predictions.parquet` and `subset.csv`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or a split lacks a class.
    """
    settings = settings or FinetuneSettings()
    started = time.perf_counter()
    resolved = make_task(store, task, kind)
    parts = _parts(store, resolved, fraction, settings.subset_seed)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision=mixed_precision(settings.precision)
    )
    torch.manual_seed(derive_seed(settings.seed, _HEAD))
    loaded = load_encoder(
        encoder,
        backbone=backbone,
        image_size=settings.views.size or store.size,
        channels=store.channels,
        store_stats=(store.mean, store.std),
    )
    described = {
        "encoder": encoder,
        "arm": arm or loaded.arm,
        "backbone": loaded.architecture,
        "store": store.path.name,
        "store_digest": store.digest,
        "task": {"name": resolved.name, "kind": resolved.kind, "classes": list(resolved.classes)},
        "fraction": fraction,
        **settings_dict(settings),
    }
    if open_run(out, described, resume=resume, overwrite=overwrite):
        if read_result(out) is not None:
            say(f"{out} is finished already; nothing to do")
            return out
        say(f"{out} was not finished; starting it again")
    _save_subset(out, store, parts.train)
    fit = _fit_full if settings.protocol == "full" else _fit_frozen
    fitted = fit(loaded, store, resolved, parts, settings, accelerator, out)
    _save_predictions(out, store, resolved, parts, fitted)
    result = {
        "kind": "finetune",
        **described,
        "store": _describe_store(store, resolved),
        "subset": _describe_subset(store, resolved, parts.train),
        **_scores(store, resolved, parts, fitted, settings.resamples),
        "seconds": time.perf_counter() - started,
        "device": device_name(accelerator.device),
    }
    write_result(out, result)
    metric = result["metric"]
    tested = result["test"]["scores"][metric]
    say(
        f"{result['arm']}, {len(parts.train)} labelled images: {metric} {tested['value']:.3f} "
        f"({tested['low']:.3f} to {tested['high']:.3f}) on {len(parts.test)} test images"
    )
    return out


def _parts(store: Store, task: Task, fraction: float, seed: int) -> Parts:
    if not 0 < fraction <= 1:
        raise MedstrataError(f"fraction must be above 0 and at most 1, got {fraction}")
    named: dict[str, NDArray[np.int64]] = {}
    for split in ("val", "test"):
        rows = store.rows(split)
        named[split] = rows[known_rows(task, rows)]
        targets = task.targets[named[split]]
        if not len(rows) or (task.kind != "multilabel" and len(np.unique(targets)) < 2):
            raise MedstrataError(
                f"{task.name}: the {split} split holds fewer than two classes; prepare the store "
                "with other splits (--split)"
            )
    return Parts(label_subset(task, store, fraction, seed), named["val"], named["test"])


def _fit_full(
    loaded: LoadedEncoder,
    store: Store,
    task: Task,
    parts: Parts,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    out: Path,
) -> Fitted:
    """Train every weight with Adam; the epoch that validates best is the one that is tested."""
    device = accelerator.device
    outputs = num_outputs(task.kind, len(task.classes))
    model = Classifier(loaded.backbone, outputs).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    targets = torch.from_numpy(task.targets)
    stream = _Stream(store, parts.train, loaded.preprocessing, settings, device)
    per_epoch = max(stream.loader.steps_per_epoch, settings.min_steps)
    metrics, best, best_epoch = Metrics(out), -np.inf, -1
    checkpoint = out / "checkpoints" / "best.safetensors"
    checkpoint.parent.mkdir(exist_ok=True)
    bar = progress_bar(TextColumn("{task.fields[numbers]}"))
    shown = bar.add_task(f"fine-tuning {out.name}", total=settings.epochs * per_epoch, numbers="")
    with bar:
        for epoch in range(settings.epochs):
            model.train()
            started, losses = time.perf_counter(), []
            for _ in range(per_epoch):
                images, ids = next(stream)
                factor = lr_factor(
                    stream.step - 1,
                    steps=settings.epochs * per_epoch,
                    warmup_steps=0,
                    schedule=settings.schedule,
                )
                optimizer.param_groups[0]["lr"] = settings.lr * factor
                with accelerator.autocast():
                    logits = model(images)
                loss = task_loss(logits.float(), targets[ids].to(device), task.kind)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
                bar.advance(shown)
            train_loss = float(torch.stack(losses).mean())
            _require_finite(train_loss, epoch, out)
            logits = _predict(model, store, parts.val, loaded.preprocessing, device)
            value = _score(task, parts.val, probabilities(logits, task.kind).numpy())
            record = {
                "event": "epoch",
                "epoch": epoch,
                "step": stream.step,
                "train_loss": train_loss,
                "val_loss": float(task_loss(logits, targets[parts.val], task.kind)),
                "val_score": value,
                "metric": metric_for(task.kind),
                "time": {"seconds": time.perf_counter() - started},
            }
            metrics.write(record)
            bar.update(shown, numbers=f"loss {train_loss:.3f}  val {value:.3f}")
            if value > best:
                best, best_epoch = value, epoch
                with replacing(checkpoint) as temporary:
                    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
                    save_file(state, temporary)
    stream.close()
    metrics.close()
    model.load_state_dict(load_file(checkpoint))
    val, test = (
        probabilities(_predict(model, store, rows, loaded.preprocessing, device), task.kind).numpy()
        for rows in (parts.val, parts.test)
    )
    return Fitted(best_epoch, val, test)


class _Stream:
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
            seed=derive_seed(settings.seed, _ORDER),
            device=device,
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


def _predict(
    model: nn.Module,
    store: Store,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
) -> Tensor:
    def keep(output: object) -> list[Tensor]:
        assert isinstance(output, Tensor)
        return [output]

    (logits,) = forward_all(model, store, rows, preprocessing, device, keep)
    return torch.from_numpy(logits)


def _score(task: Task, rows: NDArray[np.int64], values: NDArray[np.float32]) -> float:
    value: float = score(metric_for(task.kind), task.targets[rows], values, task.kind)
    return value


def _fit_frozen(
    loaded: LoadedEncoder,
    store: Store,
    task: Task,
    parts: Parts,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    out: Path,
) -> Fitted:
    """A ridge on features that are extracted once; validation picks the penalty."""
    del settings
    device = accelerator.device
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
        value = _score(task, parts.val, values)
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


def _scores(
    store: Store, task: Task, parts: Parts, fitted: Fitted, resamples: int
) -> dict[str, Any]:
    targets, patients = task.targets[parts.test], store.patient_ids[parts.test]
    scores = {}
    for name in _metrics_of(task.kind):
        interval = bootstrap_interval(
            name, targets, fitted.test, task.kind, patients, resamples=resamples, seed=0
        )
        scores[name] = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {
        "metric": metric_for(task.kind),
        "best_epoch": fitted.best_epoch,
        "val": {"images": len(parts.val), "value": _score(task, parts.val, fitted.val)},
        "test": {
            "images": len(parts.test),
            "patients": len(np.unique(patients)),
            "resamples": resamples,
            "scores": scores,
        },
    }


def _metrics_of(kind: Kind) -> list[str]:
    left_out = {"multilabel": {"accuracy", "balanced_accuracy", "quadratic_kappa"}}
    not_ordered = {"quadratic_kappa"} if kind != "ordinal" else set()
    return [name for name in METRICS if name not in left_out.get(kind, set()) | not_ordered]


def _save_subset(out: Path, store: Store, rows: NDArray[np.int64]) -> None:
    with replacing(out / "subset.csv") as temporary:
        store.manifest.loc[rows, ["sample_id", "patient_id"]].to_csv(temporary, index=False)


def _save_predictions(out: Path, store: Store, task: Task, parts: Parts, fitted: Fitted) -> None:
    frames = []
    for split, rows, values in (("val", parts.val, fitted.val), ("test", parts.test, fitted.test)):
        frame = store.manifest.loc[rows, ["sample_id", "patient_id"]].reset_index(drop=True)
        frame["split"] = split
        targets = task.targets[rows]
        if targets.ndim == 1:
            frame["target"] = targets
        else:
            for column, name in enumerate(task.classes):
                frame[f"target.{name}"] = targets[:, column]
        named = task.classes[1:] if task.kind == "binary" else task.classes
        for column, name in enumerate(named):
            frame[f"probability.{name}"] = values[:, column]
        frames.append(frame)
    with replacing(out / "predictions.parquet") as temporary:
        pd.concat(frames, ignore_index=True).to_parquet(temporary, index=False)


def _describe_store(store: Store, task: Task) -> dict[str, Any]:
    splits = {}
    for split in ("train", "val", "test"):
        rows = store.rows(split)
        splits[split] = {
            "images": len(rows),
            "patients": len(np.unique(store.patient_ids[rows])),
            "labelled": int(known_rows(task, rows).sum()),
        }
    return {
        "name": store.path.name,
        "images": len(store),
        "patients": len(np.unique(store.patient_ids)),
        "size": store.size,
        "channels": store.channels,
        "splits": splits,
    }


def _describe_subset(store: Store, task: Task, rows: NDArray[np.int64]) -> dict[str, Any]:
    targets = task.targets[rows]
    if targets.ndim == 2:
        counts = np.nansum(targets, axis=0)
    else:
        counts = np.bincount(targets, minlength=len(task.classes))
    return {
        "images": len(rows),
        "patients": len(np.unique(store.patient_ids[rows])),
        "per_class": {name: int(count) for name, count in zip(task.classes, counts, strict=True)},
    }
