"""Feature reuse: how much of an encoder is left after fine-tuning, stage by stage."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medstrata.data.labels import make_task
from medstrata.data.seen_patients import check_patients, read_patients
from medstrata.data.splits import labelled_rows
from medstrata.data.store.store import Store
from medstrata.evaluation.seeded_encoder import encoder_of_run
from medstrata.evaluation.settings import FEWEST_IMAGES, ReuseSettings
from medstrata.evaluation.setup import open_folder
from medstrata.evaluation.tuned_network import load_tuned
from medstrata.metrics.cka import (
    MEASURES,
    SubsetMeasures,
    linear_heatmap,
    measures,
    subset_measures,
)
from medstrata.metrics.legacy import rbf_cka as absolute_width_cka
from medstrata.models.backbones import Backbone, create_backbone
from medstrata.models.features import extract_features
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_config, read_result, unusable_run, write_result
from medstrata.runs.kinds import kind_of
from medstrata.runtime.console import progress_bar, say, warn
from medstrata.runtime.devices import device_name, make_accelerator
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.process_state import preserve_process_state
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream, permutation, uniforms

_ORDERS = 2  # mismatched orders a subset
_HEATMAP = "linear_debiased"

Stages = dict[str, torch.Tensor]  # stage -> globally pooled features, (N, C)


@preserve_process_state()
def reuse(
    finetuned_run: Path | str,
    store: Store,
    out: Path | str,
    settings: ReuseSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    allow_leakage: bool = False,
    encoder: str | Path | EncoderSpec | None = None,
) -> Path:
    """Compare an encoder before and after fine-tuning by CKA of its stages on test images.

    Args:
        finetuned_run: A finished run of `finetune` with `protocol=full`.
        store: The store it was tuned on.
        out: The run folder.
        settings: How they are compared.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.
        allow_leakage: Go on where the network was trained with labels of test patients.
        encoder: Where the encoder that was tuned lies now, if it was moved.

    Returns:
        The run folder, with `result.json`. There, `value` is of all images; `subset_mean`,
        `subset_sd` and `null` (each row meets one of another patient) are of the subsets; `random`
        is the tuned network against an untrained one, of all images.

    Raises:
        MedstrataError: the run is not a finished full fine-tuning with its weights, or the store
            is another one, has too few test images, or has test patients whose labels the network
            was trained with.
    """
    run, out, started = Path(finetuned_run), Path(out), time.perf_counter()
    settings = settings or ReuseSettings()
    seed = settings.seed
    tuned = _tuned_result(run, store)
    rows = _test_rows(store, tuned["task"], settings.max_images, seed)
    check_patients(run.name, read_patients(run), store, rows, allow_leakage=allow_leakage)
    size = min(settings.subset_size, len(rows) // 2)
    described = {
        "run": run.name,
        **{key: tuned[key] for key in ("encoder", "arm", "backbone")},
        "store": store.path.name,
        **{key: tuned[key] for key in ("store_digest", "task", "fraction", "seed", "protocol")},
        "images": len(rows),
        "subsets": {"count": settings.subsets, "size": size, "seed": seed},
    }
    # Before there is a folder: an encoder that cannot be found leaves nothing behind.
    networks = _Networks(run, store, tuned, encoder, seed)
    options = described | {"legacy": settings.legacy}
    with open_folder(out, store, options, resume=resume, overwrite=overwrite) as unfinished:
        if unfinished:
            say(f"{len(rows)} test images through {tuned['backbone']} before, after and untrained")
            result = described | _comparison(networks, rows, store, settings)
            result["store"] = tuned["store"]
            result["seconds"] = time.perf_counter() - started
            result["device"] = device_name(networks.device)
            write_result(out, "reuse", options, result)
            words = ", ".join(
                f"{stage} {cell['value']:.2f}" for stage, cell in result["cka"][_HEATMAP].items()
            )
            say(f"{tuned['arm']}, similarity before and after fine-tuning ({_HEATMAP}): {words}")
    return out


def _comparison(
    networks: "_Networks", rows: NDArray[np.int64], store: Store, settings: ReuseSettings
) -> dict[str, Any]:
    """Stages, similarities and heat maps, for result.json."""
    before, after, untrained = networks.stages(rows)
    size, seed = min(settings.subset_size, len(rows) // 2), settings.seed
    chosen = [
        permutation(len(rows), Stream.REUSE_SUBSET, seed, number)[:size]
        for number in range(settings.subsets)
    ]
    orders = _mismatches(store.patients[rows], chosen, seed)
    result = {
        "stages": list(before),
        "cka": _compare(before, after, untrained, chosen, orders),
        "heatmap": _heatmaps(before, after),
    }
    if settings.legacy:
        result["legacy"] = {stage: _legacy(before[stage], after[stage], chosen) for stage in before}
    return result


def _tuned_result(run: Path, store: Store) -> dict[str, Any]:
    result = read_result(run)
    if result is None or kind_of(result) != "finetune":
        raise unusable_run(run, "a finished fine-tuning run")
    if result["protocol"] != "full":
        raise MedstrataError(
            f"{run} kept the encoder frozen, so that before and after are the same; give a run "
            "with --protocol full"
        )
    if result["store_digest"] != store.digest:
        raise MedstrataError(
            f"{run} was tuned on {result['store']['name']} as it was then, not on "
            f"{store.location} as it is; give the store it was tuned on"
        )
    return result


def _test_rows(store: Store, task: dict[str, Any], max_images: int, seed: int) -> NDArray[np.int64]:
    rows = labelled_rows(store, make_task(store, task["name"], task["kind"]), "test")
    if len(rows) < FEWEST_IMAGES:
        raise MedstrataError(
            f"{store.location} has {len(rows)} labelled test images; {FEWEST_IMAGES} are needed"
        )
    return np.sort(rows[permutation(len(rows), Stream.REUSE_IMAGES, seed)[:max_images]])


class _Networks:
    """The encoder before fine-tuning, after it, and one that was never trained."""

    def __init__(
        self,
        run: Path,
        store: Store,
        tuned: dict[str, Any],
        encoder: str | Path | EncoderSpec | None,
        seed: int,
    ) -> None:
        config = read_config(run / "config.yaml")
        self.device = make_accelerator(config["precision"]).device
        self._store = store
        loaded = encoder_of_run(
            run,
            config["encoder"],
            tuned["encoder_digest"],
            encoder,
            store,
            backbone=config["backbone"],
            image_size=config["views"]["size"],
            random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, config["seed"]),
        )
        self._preprocessing = loaded.preprocessing
        self._before = loaded.backbone
        with TorchRandomState(Stream.REUSE_UNTRAINED, seed).in_use():
            self._after, self._untrained = (
                create_backbone(
                    tuned["backbone"],
                    in_channels=loaded.preprocessing.channels,
                    image_size=loaded.preprocessing.image_size,
                )
                for _ in range(2)
            )
        load_tuned(self._after, run / "exported" / "backbone.safetensors")

    def stages(self, rows: NDArray[np.int64]) -> tuple[Stages, Stages, Stages]:
        """Stage features of the same images in the same order, by each of the three."""
        with progress_bar() as bar:
            shown = bar.add_task("features", total=3)
            features = []
            for network in (self._before, self._after, self._untrained):
                features.append(self._extract(network, rows))
                bar.advance(shown)
        before, after, untrained = features
        return before, after, untrained

    def _extract(self, network: Backbone, rows: NDArray[np.int64]) -> Stages:
        network = network.to(self.device).to(memory_format=torch.channels_last)
        features = extract_features(network, self._store, rows, self._preprocessing, self.device)
        return {
            stage: torch.from_numpy(values).to(self.device)
            for stage, values in features.stages.items()
        }


def _mismatches(
    patients: NDArray[Any], chosen: Sequence[NDArray[np.int64]], seed: int
) -> list[list[NDArray[np.int64]]]:
    """Mismatched orders of each subset, none where one patient has most of it."""
    orders = [
        [
            order
            for draw in range(_ORDERS)
            if (order := mismatched(patients[some], seed, subset, draw)) is not None
        ]
        for subset, some in enumerate(chosen)
    ]
    if not any(orders):
        warn("most test images are of one patient: none can be matched otherwise, there is no null")
    return orders


def mismatched(patients: NDArray[Any], *coordinates: int) -> NDArray[np.int64] | None:
    """A random order in which every sample meets one of another patient.

    The patients stand in random order on a ring, which is turned by a random distance that is
    longer than any patient. So the samples of a patient mostly meet those of few others, and what
    the samples of one patient have in common stays in the null.

    Args:
        patients: Patient of each sample, shape (N,).
        coordinates: Integers that name the draw.

    Returns:
        The sample that each one meets, shape (N,); None if one patient has more than half of all.
    """
    names, group, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    samples, largest = len(group), int(sizes.max())
    if 2 * largest > samples:
        return None
    place = permutation(len(names), Stream.MISMATCHED_PATIENTS, *coordinates)
    shuffled = permutation(samples, Stream.MISMATCHED_IMAGES, *coordinates)
    ring = shuffled[np.argsort(place[group[shuffled]], kind="stable")]
    free = samples - 2 * largest + 1
    turn = largest + int(free * uniforms(1, Stream.MISMATCHED_SHIFT, *coordinates)[0, 0])
    order = np.empty(samples, dtype=np.int64)
    order[ring] = np.roll(ring, -turn)
    return order


def _compare(
    before: Stages,
    after: Stages,
    untrained: Stages,
    chosen: Sequence[NDArray[np.int64]],
    orders: Sequence[Sequence[NDArray[np.int64]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Measure -> stage -> what `result.json` says of it."""
    similarity: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in MEASURES}
    with progress_bar() as bar:
        for stage in bar.track(list(before), description="similarity of stages"):
            whole = measures(before[stage], after[stage])
            random = measures(untrained[stage], after[stage])
            spread = subset_measures(before[stage], after[stage], chosen, orders)
            for name in MEASURES:
                similarity[name][stage] = {
                    "value": whole[name],
                    **_summary(spread, name),
                    "random": random[name],
                }
    return similarity


def _summary(spread: SubsetMeasures, name: str) -> dict[str, Any]:
    values, null = spread.values[name], spread.null[name]
    return {
        "subset_mean": float(values.mean()),
        "subset_sd": float(values.std(ddof=1)),
        "null": {
            "mean": float(null.mean()) if len(null) else None,
            "high": float(np.quantile(null, 0.975)) if len(null) else None,
        },
    }


def _heatmaps(before: Stages, after: Stages) -> dict[str, Any]:
    first, second = list(before.values()), list(after.values())
    return {
        "measure": _HEATMAP,
        "before_after": linear_heatmap(first, second, debiased=True),
        "before": linear_heatmap(first, first, debiased=True),
        "after": linear_heatmap(second, second, debiased=True),
    }


def _legacy(
    before: torch.Tensor, after: torch.Tensor, chosen: Sequence[NDArray[np.int64]]
) -> float:
    first, second = before.cpu().numpy(), after.cpu().numpy()
    size = len(chosen[0])
    return float(absolute_width_cka(first, second, subsets=len(chosen), size=size).mean())
