"""Low-label evaluation: train a classifier on a fraction of the labels, score it on test once."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medstrata.data.labels import Task, make_task
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import choose_thresholds, export_classifier
from medstrata.evaluation.feature_cache import labelled_features
from medstrata.evaluation.full import fit_full
from medstrata.evaluation.linear import fit_frozen
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import (
    Fitted,
    Parts,
    begin_evaluation,
    describe_inputs,
    describe_store,
    describe_subset,
    known_answers,
    labelled_parts,
    predicted_classes,
    primary_score,
    save_subset,
    scored,
    seeded_encoder,
)
from medstrata.metrics import legacy
from medstrata.metrics.intervals import metric_for, metrics_for, score
from medstrata.metrics.kinds import TaskKind
from medstrata.models.encoders import encoder_digest
from medstrata.pretraining.settings import REMOTE_SHUFFLE_SHARDS
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import settings_dict, write_result
from medstrata.runs.trackers import Tracker, require_installed, tracking
from medstrata.runtime.console import say
from medstrata.runtime.devices import computed_in, device_name, make_accelerator
from medstrata.runtime.files import replacing


def finetune(
    encoder: str | Path | EncoderSpec,
    store: Store,
    task: str,
    fraction: float,
    out: Path | str,
    settings: FinetuneSettings | None = None,
    *,
    kind: TaskKind | None = None,
    backbone: str | None = None,
    arm: str | None = None,
    features: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Sequence[Tracker] = (),
) -> Path:
    """Train on a fraction of the labels, choose by validation, score every test image once.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        fraction: Share of the labelled training images, above 0 up to 1; whole patients.
        out: The run folder.
        settings: How to train.
        kind: Overrides the guessed kind of the labels.
        backbone: timm's name, for all but runs.
        arm: Name in tables; by default the run's recipe, `scratch` or `imagenet`.
        features: A folder in which the frozen protocol keeps features, for other runs that use the
            same encoder and store; none keeps none. Scores do not depend on it.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.
        trackers: Where the numbers of metrics.jsonl go as well; see `medstrata.runs.trackers`.

    Returns:
        The run folder, with `result.json`, `predictions.parquet`, `subset.csv` and the classifier
        in `exported/`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or a split lacks a class.
    """
    spec, out = EncoderSpec.parse(encoder), Path(out)
    settings = settings or FinetuneSettings()
    if store.is_remote and settings.shuffle_shards is None:
        settings = replace(settings, shuffle_shards=REMOTE_SHUFFLE_SHARDS)
    require_installed(trackers)
    started = time.perf_counter()
    resolved = make_task(store, task, kind)
    parts = labelled_parts(store, resolved, fraction, settings.subset_seed)
    accelerator = make_accelerator(settings.precision)
    loaded = seeded_encoder(
        spec, store, backbone=backbone, image_size=settings.views.size, seed=settings.seed
    )
    described = {
        **describe_inputs(spec, out, loaded, arm, store, resolved),
        "fraction": fraction,
        **settings_dict(settings),
    }
    if not begin_evaluation(out, store, described, resume=resume, overwrite=overwrite):
        return out
    save_subset(out, store, parts.train)
    start = encoder_digest(loaded)  # full fine-tuning changes it
    with tracking(trackers, out, described, step=0) as track:
        if settings.protocol == "full":
            fitted = fit_full(loaded, store, resolved, parts, settings, accelerator, out, track)
        else:
            extracted = labelled_features(loaded, store, accelerator.device, features)
            fitted = fit_frozen(extracted, resolved, parts, out, track)
    _save_predictions(out, store, resolved, parts, fitted)
    thresholds = choose_thresholds(resolved, parts.val, fitted.val)
    export_classifier(
        out,
        loaded,
        fitted.head,
        store,
        resolved,
        thresholds,
        encoder=None if settings.protocol == "full" else described["encoder"],
        seed=settings.seed,
        image_size=settings.views.size,
    )
    # The best epoch's weights are in exported/ now; a study need not hold them twice.
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    result = {
        "kind": "finetune",
        **described,
        "encoder_digest": start,
        "store": describe_store(store, resolved),
        "subset": describe_subset(store, resolved, parts.train),
        **_scores(store, resolved, parts, fitted, settings.resamples),
        "thresholds": thresholds,
        "seconds": time.perf_counter() - started,
        "device": device_name(accelerator.device),
        # What was computed in; config.yaml has what was asked for. Features are always float32.
        "precision": computed_in(accelerator) if settings.protocol == "full" else "fp32",
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


def _scores(
    store: Store, task: Task, parts: Parts, fitted: Fitted, resamples: int
) -> dict[str, Any]:
    scores = {
        name: scored(name, store, task, parts.test, fitted.test, resamples)
        for name in metrics_for(task.kind)
    }
    return {
        "metric": metric_for(task.kind),
        "best_epoch": fitted.best_epoch,
        "val": {"images": len(parts.val), "value": primary_score(task, parts.val, fitted.val)},
        "test": {
            "images": len(parts.test),
            "patients": len(np.unique(store.patients[parts.test])),
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


def _save_predictions(out: Path, store: Store, task: Task, parts: Parts, fitted: Fitted) -> None:
    frames = []
    for split, rows, values in (("val", parts.val, fitted.val), ("test", parts.test, fitted.test)):
        frame = known_answers(store, task, rows, split)
        for column, name in enumerate(predicted_classes(task)):
            frame[f"probability.{name}"] = values[:, column]
        frames.append(frame)
    with replacing(out / "predictions.parquet") as temporary:
        pd.concat(frames, ignore_index=True).to_parquet(temporary, index=False)
