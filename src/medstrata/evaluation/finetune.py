"""Low-label evaluation: train a classifier on a fraction of the labels, score it on test once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from accelerate import Accelerator

from medstrata.data.labels import Task
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import export_classifier
from medstrata.evaluation.finetune_full import fit_full
from medstrata.evaluation.fit_result import FitResult
from medstrata.evaluation.forecast import forecast
from medstrata.evaluation.linear_probe import fit_frozen
from medstrata.evaluation.result_tables import (
    count_images,
    describe_labels,
    describe_subset,
    interval_fields,
    save_predictions,
    score_with_interval,
)
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation, EvaluationOptions
from medstrata.evaluation.thresholds import choose_thresholds
from medstrata.evaluation.wrong_images import write_wrong_images
from medstrata.metrics import legacy
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import metrics_of_kind
from medstrata.pretraining.settings import REMOTE_SHUFFLE_SHARDS
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.tracker_names import Tracker
from medstrata.runs.trackers import require_installed, tracking
from medstrata.runtime.console import say
from medstrata.runtime.devices import compute_precision, make_accelerator
from medstrata.runtime.optional import require_optional
from medstrata.runtime.process_state import preserve_process_state


@preserve_process_state()
def finetune(
    encoder: str | Path | EncoderSpec,
    store: Store,
    task: str,
    fraction: float,
    out: Path | str,
    settings: FinetuneSettings | None = None,
    *,
    trackers: Sequence[Tracker] = (),
    **options: Unpack[EvaluationOptions],
) -> Path:
    """Train on a fraction of the labels, choose by validation, score every test image once.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        fraction: Share of the labelled training images, above 0 up to 1; whole patients.
        out: The run folder.
        settings: How to train.
        trackers: Where the numbers of metrics.jsonl go as well; see `medstrata.runs.trackers`.
        options: See `EvaluationOptions`: kind, backbone, arm, features, resume, overwrite,
            allow_leakage.

    Returns:
        The run folder, with `result.json`, `predictions.parquet`, `subset.csv`, `wrong_images.png`
        and the classifier in `exported/`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or a split lacks a class, or the
            encoder was trained with labels of test patients, or captum is missing.
    """
    settings = settings or FinetuneSettings()
    if settings.saliency:
        require_optional(["captum"], "saliency", "saliency")
    if store.is_remote and settings.shuffle_shards is None:
        settings = replace(settings, shuffle_shards=REMOTE_SHUFFLE_SHARDS)
    require_installed(trackers)
    accelerator = make_accelerator(settings.precision)
    evaluation = Evaluation.begin(encoder, store, task, out, settings, options)
    evaluation, metric, parts = evaluation.on_labels(fraction, settings)
    full = settings.protocol == "full"
    expected = (
        forecast(evaluation.loaded, parts, settings, evaluation.out, accelerator) if full else None
    )
    with evaluation.open() as unfinished:
        if unfinished:
            if expected is not None:
                expected.say()
            _train_and_score(evaluation, metric, parts, settings, accelerator, trackers)
    return evaluation.out


def _train_and_score(
    evaluation: Evaluation,
    metric: str,
    parts: SplitRows,
    settings: FinetuneSettings,
    accelerator: Accelerator,
    trackers: Sequence[Tracker],
) -> None:
    """Fill the run folder."""
    store = evaluation.store
    evaluation.record_labelled(parts)
    with tracking(trackers, evaluation.out, evaluation.recorded, step=0) as track:
        if settings.protocol == "full":
            with evaluation.random_state.in_use():  # some networks draw in training, by dropout
                fitted = fit_full(evaluation, parts, metric, settings, accelerator, track)
        else:
            extracted = evaluation.features(accelerator.device)
            layers = extracted.layers_of(settings.layer)
            fitted = fit_frozen(
                extracted, evaluation.task, parts, metric, layers, evaluation.out, track
            )
    predicted = {
        "val": (parts.val, {"probability": fitted.val}),
        "test": (parts.test, {"probability": fitted.test}),
    }
    save_predictions(evaluation.out, store, evaluation.task, predicted)
    thresholds = choose_thresholds(evaluation.task, parts.val, fitted.val)
    export_classifier(evaluation, fitted, thresholds, settings)
    write_wrong_images(
        evaluation,
        fitted,
        parts.test,
        accelerator.device,
        count=settings.wrong_images,
        saliency=settings.saliency,
    )
    results = {
        "labels": describe_labels(store, parts),
        "subset": describe_subset(store, evaluation.task, parts.train),
        **_scores(evaluation, parts, fitted, metric, settings.resamples),
        "thresholds": thresholds,
        # What validation chose; config.yaml has what it could choose from.
        "chosen": {"layer": fitted.layer, "lr": fitted.lr},
        # What was computed in; config.yaml has what was asked for. Features are always float32.
        "precision": compute_precision(accelerator) if settings.protocol == "full" else "fp32",
    }
    if settings.legacy:
        results["legacy"] = _legacy_figures(evaluation.task, parts, fitted)
    result = evaluation.finish("finetune", results, accelerator.device)
    tested = result["test"]["scores"][metric]
    say(
        f"{evaluation.arm}, {parts.labels}: {metric} {tested['value']:.3f} "
        f"({tested['low']:.3f} to {tested['high']:.3f}) on {len(parts.test)} test images"
    )


def _scores(
    evaluation: Evaluation, parts: SplitRows, fitted: FitResult, metric: str, resamples: int
) -> dict[str, Any]:
    store, task = evaluation.store, evaluation.task
    scores = {
        name: score_with_interval(name, store, task, parts.test, fitted.test, resamples)
        for name in dict.fromkeys((*metrics_of_kind(task.kind), metric))
    }
    chosen_by = score(metric, task.targets[parts.val], fitted.val, task.kind)
    return {
        "metric": metric,
        "best_validation": fitted.best_validation,
        "val": {"images": len(parts.val), "value": chosen_by},
        "test": {
            **count_images(store, parts.test),
            "resamples": resamples,
            "scores": scores,
        },
    }


def _legacy_figures(task: Task, parts: SplitRows, fitted: FitResult) -> dict[str, Any]:
    """The paper's own figures, each wrong in one thing only: the epoch, or the interval."""
    targets, names = task.targets[parts.test], metrics_of_kind(task.kind)
    intervals = {name: legacy.interval(name, targets, fitted.test, task.kind) for name in names}
    figures: dict[str, Any] = {
        "interval": {name: interval_fields(one) for name, one in intervals.items()}
    }
    last = fitted.last_test
    if last is not None:  # the frozen protocol has no epochs
        figures["last_epoch"] = {name: score(name, targets, last, task.kind) for name in names}
    return figures
