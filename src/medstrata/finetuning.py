"""Low-label evaluation: train a classifier on a fraction of the labels, score it on test once."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medstrata import legacy
from medstrata.console import say
from medstrata.data.labels import Task, make_task
from medstrata.data.splits import known, label_subset
from medstrata.data.store import Store
from medstrata.devices import device_name, make_accelerator
from medstrata.errors import MedstrataError
from medstrata.files import replacing
from medstrata.metrics import bootstrap_interval, metric_for, metrics_for, score
from medstrata.probe import fit_frozen
from medstrata.randomness import derive_seed
from medstrata.run import keep_audit, open_run, read_result, settings_dict, write_result
from medstrata.settings import REMOTE_SHUFFLE_SHARDS, FinetuneSettings
from medstrata.supervised import Fitted, Parts, fit_full, primary_score
from medstrata.weighted import Kind
from medstrata.weights import load_encoder

_HEAD = 1010  # what a random number is for


def finetune(
    encoder: str,
    store: Store,
    task: str,
    fraction: float,
    out: Path | str,
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
    out, settings = Path(out), settings or FinetuneSettings()
    if store.is_remote and settings.shuffle_shards is None:
        settings = replace(settings, shuffle_shards=REMOTE_SHUFFLE_SHARDS)
    started = time.perf_counter()
    resolved = make_task(store, task, kind)
    parts = _parts(store, resolved, fraction, settings.subset_seed)
    accelerator = make_accelerator(settings.precision)
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
    keep_audit(store.path, out)
    _save_subset(out, store, parts.train)
    if settings.protocol == "full":
        fitted = fit_full(loaded, store, resolved, parts, settings, accelerator, out)
    else:
        fitted = fit_frozen(loaded, store, resolved, parts, accelerator.device, out)
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
    if settings.legacy:
        result["legacy"] = _legacy_figures(resolved, parts, fitted)
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
        named[split] = rows[known(task.targets[rows])]
        targets = task.targets[named[split]]
        if not len(rows) or (task.kind != "multilabel" and len(np.unique(targets)) < 2):
            raise MedstrataError(
                f"{task.name}: the {split} split holds fewer than two classes; prepare the store "
                "with other splits (--split)"
            )
    return Parts(label_subset(task, store, fraction, seed), named["val"], named["test"])


def _scores(
    store: Store, task: Task, parts: Parts, fitted: Fitted, resamples: int
) -> dict[str, Any]:
    targets, patients = task.targets[parts.test], store.patients[parts.test]
    scores = {}
    for name in metrics_for(task.kind):
        interval = bootstrap_interval(
            name, targets, fitted.test, task.kind, patients, resamples=resamples, seed=0
        )
        scores[name] = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {
        "metric": metric_for(task.kind),
        "best_epoch": fitted.best_epoch,
        "val": {"images": len(parts.val), "value": primary_score(task, parts.val, fitted.val)},
        "test": {
            "images": len(parts.test),
            "patients": len(np.unique(patients)),
            "resamples": resamples,
            "scores": scores,
        },
    }


def _legacy_figures(task: Task, parts: Parts, fitted: Fitted) -> dict[str, Any]:
    """The paper's own figures, each wrong in one thing only: the epoch, or the interval."""
    targets, names = task.targets[parts.test], metrics_for(task.kind)
    figures: dict[str, Any] = {"interval": {}}
    for name in names:
        interval = legacy.interval(name, targets, fitted.test, task.kind)
        figures["interval"][name] = {
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
    last = fitted.last_test
    if last is not None:  # the frozen protocol has no epochs
        figures["last_epoch"] = {name: score(name, targets, last, task.kind) for name in names}
    return figures


def _save_subset(out: Path, store: Store, rows: NDArray[np.int64]) -> None:
    with replacing(out / "subset.csv") as temporary:
        store.columns("sample_id", "patient_id").loc[rows].to_csv(temporary, index=False)


def _save_predictions(out: Path, store: Store, task: Task, parts: Parts, fitted: Fitted) -> None:
    frames = []
    for split, rows, values in (("val", parts.val, fitted.val), ("test", parts.test, fitted.test)):
        frame = store.columns("sample_id", "patient_id").loc[rows].reset_index(drop=True)
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
            "patients": len(np.unique(store.patients[rows])),
            "labelled": int(known(task.targets[rows]).sum()),
        }
    return {
        "name": store.path.name,
        "images": len(store),
        "patients": len(np.unique(store.patients)),
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
        "patients": len(np.unique(store.patients[rows])),
        "per_class": {name: int(count) for name, count in zip(task.classes, counts, strict=True)},
    }
