"""Layer-wise probing: what each stage of a frozen encoder knows of a task, scored on test."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medstrata.console import say
from medstrata.data.labels import Task, make_task
from medstrata.data.store import Store
from medstrata.devices import device_name, evaluation_device
from medstrata.evaluation import (
    Parts,
    begin_evaluation,
    describe_inputs,
    describe_store,
    describe_subset,
    known_answers,
    labelled_parts,
    predicted_classes,
    save_subset,
    scored,
    seeded_encoder,
)
from medstrata.feature_cache import labelled_features
from medstrata.files import replacing
from medstrata.frozen import fit_probe
from medstrata.metrics import metric_for
from medstrata.neighbours import knn_probabilities
from medstrata.run import settings_dict, write_result
from medstrata.settings import ProbeSettings
from medstrata.weighted import Kind


def probe(
    encoder: str,
    store: Store,
    task: str,
    out: Path | str,
    *,
    fraction: float = 1.0,
    settings: ProbeSettings | None = None,
    kind: Kind | None = None,
    backbone: str | None = None,
    arm: str | None = None,
    features: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Read a task out of every stage of a frozen encoder, by a linear layer and by neighbours.

    The linear layer is that of the frozen protocol of `finetune`: globally pooled features,
    standardised by the training images, a ridge penalty chosen on validation. The training images
    are those that `finetune` takes at the same fraction and `subset_seed`.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        out: The run folder.
        fraction: Share of the labelled training images, above 0 up to 1; whole patients.
        settings: How stages are read out.
        kind: Overrides the guessed kind of the labels.
        backbone: timm's name, for all but runs.
        arm: Name in tables; by default the run's recipe, `scratch` or `imagenet`.
        features: A folder in which features are kept, for other runs that use the same encoder
            and store; none keeps none. Scores do not depend on it.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.

    Returns:
        The run folder, with `result.json`, `predictions.parquet` (test images) and `subset.csv`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or a split lacks a class.

    Source: Alain and Bengio 2016, arXiv:1610.01644 (linear read-outs of every layer).
    """
    out, settings = Path(out), settings or ProbeSettings()
    started, device = time.perf_counter(), evaluation_device()
    resolved = make_task(store, task, kind)
    parts = labelled_parts(store, resolved, fraction, settings.subset_seed)
    loaded = seeded_encoder(
        encoder, store, backbone=backbone, image_size=settings.image_size, seed=settings.seed
    )
    described = {
        **describe_inputs(encoder, out, loaded, arm, store, resolved),
        "fraction": fraction,
        **settings_dict(settings),
    }
    if not begin_evaluation(out, store, described, resume=resume, overwrite=overwrite):
        return out
    save_subset(out, store, parts.train)
    extracted = labelled_features(loaded, store, device, features)
    say(f"{described['arm']}, {len(parts.train)} labelled images, probed stage by stage:")
    metric = metric_for(resolved.kind)
    predicted: dict[str, NDArray[np.float32]] = {}
    stages = {}
    for stage, values in extracted.layers().items():
        trials, best = fit_probe(values, extracted.rows, resolved, parts)
        read = {
            "linear": trials[best].test,
            "knn": _by_neighbours(values, extracted.rows, resolved, parts, settings),
        }
        predicted |= {f"{stage}.{name}": tested for name, tested in read.items()}
        scores = {
            name: scored(metric, store, resolved, parts.test, tested, settings.resamples)
            for name, tested in read.items()
        }
        chosen = {"penalty": trials[best].penalty, "val": trials[best].val_score}
        stages[stage] = {"linear": {**scores["linear"], **chosen}, "knn": scores["knn"]}
        say(_line(stage, metric, scores))
    _save_predictions(out, store, resolved, parts.test, predicted)
    result = {
        "kind": "probe",
        **described,
        "store": describe_store(store, resolved),
        "subset": describe_subset(store, resolved, parts.train),
        "metric": metric,
        "test": {
            "images": len(parts.test),
            "patients": len(np.unique(store.patients[parts.test])),
            "resamples": settings.resamples,
            "stages": stages,
        },
        "seconds": time.perf_counter() - started,
        "device": device_name(device),
    }
    write_result(out, result)
    return out


def _by_neighbours(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    task: Task,
    parts: Parts,
    settings: ProbeSettings,
) -> NDArray[np.float32]:
    bank, queries = (features[np.searchsorted(rows, part)] for part in (parts.train, parts.test))
    return knn_probabilities(
        bank,
        task.targets[parts.train],
        queries,
        task.kind,
        len(task.classes),
        neighbours=settings.neighbours,
        temperature=settings.temperature,
    )


def _line(stage: str, metric: str, scores: dict[str, dict[str, float]]) -> str:
    columns = [
        f"{name} {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        for name, score in scores.items()
    ]
    return f"  {stage:<7} {metric}  " + "  ".join(columns)


def _save_predictions(
    out: Path,
    store: Store,
    task: Task,
    rows: NDArray[np.int64],
    predicted: dict[str, NDArray[np.float32]],
) -> None:
    """A column `<stage>.<linear|knn>.<class>` for each read-out of each stage."""
    columns = {
        f"{name}.{label}": values[:, column]
        for name, values in predicted.items()
        for column, label in enumerate(predicted_classes(task))
    }
    frame = known_answers(store, task, rows, "test").assign(**columns)
    with replacing(out / "predictions.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
