"""The atlas of an encoder's features on test images: spectra, neighbours and a map.

Legend: N test images, D feature size, K neighbours.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.labels import Task, make_task
from medstrata.data.store.store import Store
from medstrata.evaluation.feature_cache import labelled_features
from medstrata.evaluation.neighbour_sheet import Neighbour, Query, Shown, write_sheet
from medstrata.evaluation.setup import (
    begin_evaluation,
    describe_inputs,
    describe_store,
    labelled_rows,
    seeded_encoder,
)
from medstrata.evaluation.tsne import COMPONENTS, plane
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.knn import nearest
from medstrata.metrics.spectrum import effective_rank, feature_norm, rankme, spread
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import write_result
from medstrata.runtime.console import say
from medstrata.runtime.devices import device_name, evaluation_device
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import replacing
from medstrata.runtime.randomness import Stream, permutation

# What a draw is for.


def atlas(
    encoder: str | Path | EncoderSpec,
    store: Store,
    task: str,
    out: Path | str,
    *,
    images: int = 2000,
    queries: int = 8,
    neighbours: int = 5,
    seed: int = 0,
    image_size: int = 0,
    kind: TaskKind | None = None,
    backbone: str | None = None,
    arm: str | None = None,
    features: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Show what a frozen encoder's features of the test images look like; nothing is trained.

    Args:
        encoder: A pre-training run, a weights file, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: Images and labels.
        task: Label column or task; see `medstrata.data.labels.make_task`.
        out: The run folder.
        images: Most images on the map, drawn at random.
        queries: Images whose neighbours are shown, drawn from each class in turn.
        neighbours: Nearest images of each image, by cosine of the pooled features.
        seed: Decides the weights of `scratch`, the queries and the images on the map.
        image_size: Side of the input in pixels for `scratch` and `imagenet`; 0 takes the store's.
        kind: Overrides the guessed kind of the labels.
        backbone: timm's name, for all but runs.
        arm: Name in tables; by default the run's recipe, `scratch` or `imagenet`.
        features: A folder in which features are kept, for other runs that use the same encoder
            and store; none keeps none.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.

    Returns:
        The run folder, with `result.json`, `map.parquet` and `neighbours.png`.

    Raises:
        MedstrataError: the task or the encoder does not exist, or test lacks a class.
        ValueError: a number is out of range.
    """
    sizes = {"map_images": images, "query_images": queries, "nearest": neighbours}
    if min(sizes.values()) < 1:
        raise ValueError(
            "images, queries and neighbours must be 1 or more, "
            f"got {images}, {queries} and {neighbours}"
        )
    spec, out = EncoderSpec.parse(encoder), Path(out)
    started, device = time.perf_counter(), evaluation_device()
    resolved = make_task(store, task, kind)
    rows = labelled_rows(store, resolved, "test")
    if len(rows) < 3:
        raise MedstrataError(f"{task}: {len(rows)} labelled test images; an atlas needs 3 or more")
    loaded = seeded_encoder(spec, store, backbone=backbone, image_size=image_size, seed=seed)
    described = {
        **describe_inputs(spec, out, loaded, arm, store, resolved),
        "seed": seed,
        "image_size": image_size,
        **sizes,
    }
    if not begin_evaluation(out, store, described, resume=resume, overwrite=overwrite):
        return out
    extracted = labelled_features(loaded, store, device, features).at(rows)
    facts = _facts(store, resolved, rows)
    found = _find_neighbours(extracted.pooled, facts, queries, neighbours, seed)
    with replacing(out / "neighbours.png") as temporary:
        write_sheet(store, found, temporary)
    mapped = _write_map(out, extracted.pooled, facts, images, seed)
    labels, patients = pd.factorize(facts["label"])[0], facts["patient"].to_numpy()
    agreement = neighbour_agreement(extracted.pooled, labels, patients, neighbours)
    result = {
        "kind": "atlas",
        **described,
        "store": describe_store(store, resolved),
        "images": len(rows),
        "spectrum": {stage: _spectrum(values) for stage, values in extracted.layers().items()},
        "neighbours": {
            "k": min(neighbours, len(rows) - 1),
            "agreement": agreement,
            "queries": [_described(query) for query in found],
        },
        "map": {
            "method": f"t-SNE of the first {COMPONENTS} principal components",
            "seed": seed,
            "images": mapped,
        },
        "seconds": time.perf_counter() - started,
        "device": device_name(device),
    }
    write_result(out, result)
    say(f"{described['arm']}, {len(rows)} test images: of the nearest images {_told(agreement)}")
    return out


def _told(agreement: dict[str, float]) -> str:
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
    same_label, same_patient = (_same(values) for values in (labels, patients))
    return {
        "label": float((labels[itself] == labels[:, None]).mean()),
        "label_chance": (same_label - len(labels)) / (len(labels) * (len(labels) - 1)),
        "patient": float((patients[itself] == patients[:, None]).mean()),
        "patient_chance": (same_patient - len(labels)) / (len(labels) * (len(labels) - 1)),
        **_among_others(labels, patients, others, np.isfinite(cosine)),
    }


def _same(values: NDArray[np.integer]) -> int:
    """Ordered pairs of equal values, each with itself among them."""
    counts = np.unique(values, return_counts=True)[1]
    return int(np.square(counts).sum())


def _among_others(
    labels: NDArray[np.int64],
    patients: NDArray[np.integer],
    places: NDArray[np.int64],
    there: NDArray[np.bool_],
) -> dict[str, float]:
    pairs = len(labels) ** 2 - _same(patients)
    if not pairs:  # a single patient
        return {}
    both = np.unique(np.stack([labels, patients]), axis=1, return_inverse=True)[1].ravel()
    return {
        "label_other_patients": float((labels[places] == labels[:, None])[there].mean()),
        "label_other_patients_chance": (_same(labels) - _same(both)) / pairs,
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
    features: NDArray[np.float32], facts: pd.DataFrame, queries: int, neighbours: int, seed: int
) -> list[Query]:
    # By turns from each label, the most frequent first; within a label in random order.
    drawn = facts.loc[permutation(len(facts), Stream.ATLAS_QUERIES, seed), ["label"]]
    turn = drawn.groupby("label").cumcount()
    order = drawn.assign(turn=turn, size=-drawn.groupby("label")["label"].transform("size"))
    chosen = order.sort_values(["turn", "size", "label"], kind="stable").index[:queries]
    chosen = facts.loc[chosen.sort_values(), "label"].sort_values(kind="stable").index
    places, cosines = nearest(features, np.arange(len(facts)), neighbours)
    return [
        Query(
            image=_shown(facts, int(place)),
            neighbours=tuple(
                Neighbour(
                    image=_shown(facts, int(other)),
                    cosine=float(cosine),
                    same_label=bool(facts["label"][other] == facts["label"][place]),
                    same_patient=bool(facts["patient"][other] == facts["patient"][place]),
                )
                for other, cosine in zip(places[place], cosines[place], strict=True)
            ),
        )
        for place in chosen
    ]


def _shown(facts: pd.DataFrame, place: int) -> Shown:
    row, sample_id, label = (facts[name].iloc[place] for name in ("row", "sample_id", "label"))
    return Shown(int(row), str(sample_id), str(label))


def _described(query: Query) -> dict[str, Any]:
    return {
        "sample_id": query.image.sample_id,
        "neighbours": [
            {
                "sample_id": neighbour.image.sample_id,
                "cosine": neighbour.cosine,
                "same_label": neighbour.same_label,
                "same_patient": neighbour.same_patient,
            }
            for neighbour in query.neighbours
        ],
    }


def _write_map(
    out: Path, features: NDArray[np.float32], facts: pd.DataFrame, images: int, seed: int
) -> int:
    """Write map.parquet; gives the number of images on the map."""
    say(f"drawing the map of {min(images, len(facts))} images")
    chosen = np.sort(permutation(len(facts), Stream.ATLAS_MAP, seed)[:images])
    places = plane(features[chosen])
    drawn = facts.loc[chosen, ["sample_id", "patient_id", "site", "label"]].reset_index(drop=True)
    with replacing(out / "map.parquet") as temporary:
        drawn.assign(x=places[:, 0], y=places[:, 1]).to_parquet(temporary, index=False)
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
