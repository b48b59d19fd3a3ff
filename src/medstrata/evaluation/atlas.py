"""The atlas of an encoder's features on test images: spectra, neighbours and a map.

Legend: N test images, D feature size, K neighbours.
"""

from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.data.store.store import Store
from medstrata.evaluation.neighbour_sheet import SheetNeighbour, SheetQuery, write_sheet
from medstrata.evaluation.rows import require_labelled_rows
from medstrata.evaluation.settings import AtlasSettings
from medstrata.evaluation.setup import Evaluation, EvaluationOptions
from medstrata.evaluation.tsne import COMPONENTS, tsne_map
from medstrata.metrics.knn import nearest
from medstrata.metrics.spectrum import effective_rank, feature_norm, rankme, spread
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import say
from medstrata.runtime.devices import evaluation_device
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file
from medstrata.runtime.process_state import preserve_process_state
from medstrata.runtime.randomness import Stream, permutation


@preserve_process_state()
def atlas(
    encoder: str | Path | EncoderSpec,
    store: Store,
    task: str,
    out: Path | str,
    settings: AtlasSettings | None = None,
    **options: Unpack[EvaluationOptions],
) -> Path:
    """Show what a frozen encoder's features of the test images look like; nothing is trained.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        out: The run folder.
        settings: What is shown.
        options: See `EvaluationOptions`: kind, backbone, arm, features, resume, overwrite.

    Returns:
        The run folder, with `result.json`, `map.parquet` and `neighbours.png`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or test lacks a class.
    """
    settings, device = settings or AtlasSettings(), evaluation_device()
    evaluation = Evaluation.begin(encoder, store, task, out, settings, options)
    evaluation = evaluation.recording(
        {
            "seed": settings.seed,
            "image_size": settings.image_size,
            # The result has numbers of its own by the plain names.
            "map_images": settings.images,
            "query_images": settings.queries,
            "nearest": settings.neighbours,
        }
    )
    rows = require_labelled_rows(store, evaluation.task, "test")
    if len(rows) < 3:
        raise MedstrataError(f"{task}: {len(rows)} labelled test images; an atlas needs 3 or more")
    with evaluation.open() as unfinished:
        if unfinished:
            _draw(evaluation, rows, settings, device)
    return evaluation.out


def _draw(
    evaluation: Evaluation, rows: NDArray[np.int64], settings: AtlasSettings, device: torch.device
) -> None:
    """Fill the run folder."""
    store = evaluation.store
    extracted = evaluation.features(device).at(rows)
    facts = _facts(store, evaluation.task, rows)
    queries = _find_neighbours(extracted.pooled, facts, settings)
    with atomic_file(evaluation.out / "neighbours.png") as temporary:
        write_sheet(store, queries, temporary)
    mapped = _write_map(evaluation.out, extracted.pooled, facts, settings)
    labels, patients = pd.factorize(facts["label"])[0], facts["patient"].to_numpy()
    agreement = neighbour_agreement(extracted.pooled, labels, patients, settings.neighbours)
    results = {
        "images": len(rows),
        "spectrum": {stage: _spectrum(values) for stage, values in extracted.layers().items()},
        "neighbours": {
            "k": min(settings.neighbours, len(rows) - 1),
            "agreement": agreement,
            "queries": [_described(query) for query in queries],
        },
        "map": {
            "method": f"t-SNE of the first {COMPONENTS} principal components",
            "seed": settings.seed,
            "images": mapped,
        },
    }
    evaluation.finish("atlas", results, device)
    alike = _agreement_words(agreement)
    say(f"{evaluation.arm}, {len(rows)} test images: of the nearest images {alike}")


def _agreement_words(agreement: dict[str, float]) -> str:
    return " and ".join(
        f"{agreement[name]:.1%} the same {name} ({agreement[f'{name}_chance']:.1%} by chance)"
        for name in ("label", "patient")
    )


def neighbour_agreement(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    patients: NDArray[np.integer],
    count: int,
) -> dict[str, float]:
    """How often the nearest images share label and patient with an image.

    Args:
        features: Shape (N, D).
        labels: Shape (N,).
        patients: Shape (N,).
        count: Nearest images of each image, itself left out.

    Returns:
        Shares of all N x K neighbours: `label` and `patient`; `label_other_patients` of the
        nearest images of other patients, since images of one patient are alike and share a label
        without any medicine; and, as `<share>_chance`, what neighbours drawn at random give.
    """
    itself, _ = nearest(features, np.arange(len(features)), count)
    others, cosine = nearest(features, patients, count)
    same_label, same_patient = (_equal_pairs(values) for values in (labels, patients))
    return {
        "label": float((labels[itself] == labels[:, None]).mean()),
        "label_chance": (same_label - len(labels)) / (len(labels) * (len(labels) - 1)),
        "patient": float((patients[itself] == patients[:, None]).mean()),
        "patient_chance": (same_patient - len(labels)) / (len(labels) * (len(labels) - 1)),
        **_among_others(labels, patients, others, np.isfinite(cosine)),
    }


def _equal_pairs(values: NDArray[np.integer]) -> int:
    """Ordered pairs of equal values, each with itself among them."""
    counts = np.unique(values, return_counts=True)[1]
    return int(np.square(counts).sum())


def _among_others(
    labels: NDArray[np.int64],
    patients: NDArray[np.integer],
    neighbours: NDArray[np.int64],
    found: NDArray[np.bool_],
) -> dict[str, float]:
    pairs = len(labels) ** 2 - _equal_pairs(patients)
    if not pairs:  # a single patient
        return {}
    both = np.unique(np.stack([labels, patients]), axis=1, return_inverse=True)[1].ravel()
    return {
        "label_other_patients": float((labels[neighbours] == labels[:, None])[found].mean()),
        "label_other_patients_chance": (_equal_pairs(labels) - _equal_pairs(both)) / pairs,
    }


def _facts(store: Store, task: Task, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Sample number, ids, site and label in words of each test image."""
    frame = store.columns("sample_id", "patient_id", "site").loc[rows].reset_index(drop=True)
    targets = task.targets[rows]
    if targets.ndim == 1:
        frame["label"] = np.asarray(task.classes, dtype=object)[targets]
    else:
        names = np.asarray(task.classes, dtype=object)
        frame["label"] = [" + ".join(names[target == 1]) or "none" for target in targets]
    return frame.assign(row=rows, patient=store.patients[rows])


def _find_neighbours(
    features: NDArray[np.float32], facts: pd.DataFrame, settings: AtlasSettings
) -> list[SheetQuery]:
    # By turns from each label, the most frequent first; within a label in random order.
    drawn = facts.loc[permutation(len(facts), Stream.ATLAS_QUERIES, settings.seed), ["label"]]
    turn = drawn.groupby("label").cumcount()
    order = drawn.assign(turn=turn, size=-drawn.groupby("label")["label"].transform("size"))
    chosen = order.sort_values(["turn", "size", "label"], kind="stable").index[: settings.queries]
    chosen = facts.loc[chosen.sort_values(), "label"].sort_values(kind="stable").index
    near, cosines = nearest(features, np.arange(len(facts)), settings.neighbours)
    rows, labels, ids, patients = (facts[name] for name in ("row", "label", "sample_id", "patient"))
    return [
        SheetQuery(
            int(rows[index]),
            str(labels[index]),
            str(ids[index]),
            [
                SheetNeighbour(
                    int(rows[other]),
                    str(labels[other]),
                    str(ids[other]),
                    cosine=float(cosine),
                    same_label=bool(labels[other] == labels[index]),
                    same_patient=bool(patients[other] == patients[index]),
                )
                for other, cosine in zip(near[index], cosines[index], strict=True)
            ],
        )
        for index in chosen
    ]


def _described(query: SheetQuery) -> dict[str, Any]:
    shown = ("sample_id", "cosine", "same_label", "same_patient")
    neighbours = [{name: getattr(near, name) for name in shown} for near in query.neighbours]
    return {"sample_id": query.sample_id, "neighbours": neighbours}


def _write_map(
    out: Path, features: NDArray[np.float32], facts: pd.DataFrame, settings: AtlasSettings
) -> int:
    """Write map.parquet; gives the number of images on the map."""
    say(f"drawing the map of {min(settings.images, len(facts))} images")
    chosen = np.sort(permutation(len(facts), Stream.ATLAS_MAP, settings.seed)[: settings.images])
    points = tsne_map(features[chosen])
    drawn = facts.loc[chosen, ["sample_id", "patient_id", "site", "label"]].reset_index(drop=True)
    with atomic_file(out / "map.parquet") as temporary:
        drawn.assign(x=points[:, 0], y=points[:, 1]).to_parquet(temporary, index=False)
    return len(drawn)


def _spectrum(features: NDArray[np.float32]) -> dict[str, float]:
    return {
        "effective_rank": effective_rank(features),
        "rankme": rankme(features),
        "feature_norm": feature_norm(features),
        "spread": spread(features),
        "dimensions": features.shape[1],
        "images": len(features),
    }
