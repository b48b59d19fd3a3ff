"""Layer-wise probing: what each stage of a frozen encoder knows of a task, scored on test."""

from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from medstrata.data.store.store import Store
from medstrata.evaluation.linear_probe import (
    best_trial,
    first_alike,
    fit_probe,
    layer_at,
    predict_linear,
)
from medstrata.evaluation.result_tables import (
    count_images,
    describe_labels,
    describe_subset,
    save_predictions,
    score_with_interval,
)
from medstrata.evaluation.rows import SplitRows
from medstrata.evaluation.settings import ProbeSettings
from medstrata.evaluation.setup import Evaluation, EvaluationOptions
from medstrata.metrics.knn import knn_probabilities
from medstrata.models.features import StoredFeatures
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import say
from medstrata.runtime.devices import evaluation_device
from medstrata.runtime.process_state import preserve_process_state


@preserve_process_state()
def probe(
    encoder: str | Path | EncoderSpec,
    store: Store,
    task: str,
    out: Path | str,
    *,
    fraction: float = 1.0,
    settings: ProbeSettings | None = None,
    **options: Unpack[EvaluationOptions],
) -> Path:
    """Read a task out of every stage of a frozen encoder, by a linear layer and by neighbours.

    The linear layer is that of the frozen protocol of `finetune`: globally pooled features,
    standardised by all training images, a ridge penalty chosen on validation. The training images
    are those that `finetune` takes at the same fraction and `subset_seed`.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        out: The run folder.
        fraction: Share of the labelled training images, above 0 up to 1; whole patients.
        settings: How stages are read out.
        options: See `EvaluationOptions`: kind, backbone, arm, features, resume, overwrite,
            allow_leakage.

    Returns:
        The run folder, with `result.json`, `predictions.parquet` (test images) and `subset.csv`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or a split lacks a class, or the
            encoder was trained with labels of test patients.

    Source: Alain and Bengio 2016, arXiv:1610.01644 (linear read-outs of every layer).
    """
    settings, device = settings or ProbeSettings(), evaluation_device()
    evaluation = Evaluation.begin(encoder, store, task, out, settings, options)
    evaluation, metric, parts = evaluation.on_labels(fraction, settings)
    with evaluation.open() as unfinished:
        if unfinished:
            _read_and_score(evaluation, metric, parts, settings, device)
    return evaluation.out


def _read_and_score(
    evaluation: Evaluation,
    metric: str,
    parts: SplitRows,
    settings: ProbeSettings,
    device: torch.device,
) -> None:
    """Fill the run folder."""
    store = evaluation.store
    evaluation.record_labelled(parts)
    extracted = evaluation.features(device)
    say(f"{evaluation.arm}, {parts.labels}, probed stage by stage:")
    read = _read_stages(extracted, evaluation, parts, metric, settings)
    outputs = {
        f"{stage}.{name}": values
        for stage, one in read.items()
        for name, values in one.test.items()
    }
    save_predictions(evaluation.out, store, evaluation.task, {"test": (parts.test, outputs)})
    results = {
        "labels": describe_labels(store, parts),
        "subset": describe_subset(store, evaluation.task, parts.train),
        "metric": metric,
        "test": {
            **count_images(store, parts.test),
            "resamples": settings.resamples,
            "stages": {stage: one.scores for stage, one in read.items()},
        },
    }
    evaluation.finish("probe", results, device)


class _ReadOuts(NamedTuple):
    """What the linear layer and the neighbours make of one stage, by the name of the read-out."""

    test: dict[str, NDArray[np.float32]]  # probabilities of the test images, (N, L)
    scores: dict[str, dict[str, float]]  # for result.json


def _read_stages(
    extracted: StoredFeatures,
    evaluation: Evaluation,
    parts: SplitRows,
    metric: str,
    settings: ProbeSettings,
) -> dict[str, _ReadOuts]:
    first = first_alike(extracted, extracted.layers())
    read: dict[str, _ReadOuts] = {}
    for stage in first:
        # Equal features are read out once: the pooled ones are most often those of the last stage.
        if first[stage] == stage:
            read[stage] = _read_stage(extracted, stage, evaluation, parts, metric, settings)
        else:
            read[stage] = read[first[stage]]
        say(_line(stage, metric, read[stage].scores))
    return read


def _read_stage(
    extracted: StoredFeatures,
    stage: str,
    evaluation: Evaluation,
    parts: SplitRows,
    metric: str,
    settings: ProbeSettings,
) -> _ReadOuts:
    task = evaluation.task
    trials = fit_probe(extracted, stage, task, parts, metric)
    chosen = trials[best_trial(trials)]
    bank, queries = (layer_at(extracted, stage, part) for part in (parts.train, parts.test))
    voted = knn_probabilities(
        bank.numpy(),
        task.targets[parts.train],
        queries.numpy(),
        task.kind,
        len(task.classes),
        neighbours=settings.neighbours,
        temperature=settings.temperature,
    )
    test = {"linear": predict_linear(chosen.head, queries, task.kind), "knn": voted}
    scores = {
        name: score_with_interval(
            metric, evaluation.store, task, parts.test, values, settings.resamples
        )
        for name, values in test.items()
    }
    scores["linear"] |= {"penalty": chosen.penalty, "val": chosen.val_score}
    return _ReadOuts(test, scores)


def _line(stage: str, metric: str, scores: dict[str, dict[str, float]]) -> str:
    columns = [
        f"{name} {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        for name, score in scores.items()
    ]
    return f"  {stage:<7} {metric}  " + "  ".join(columns)
