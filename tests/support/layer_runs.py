"""Run folders of kind probe, reuse and atlas, with plausible made-up numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from support.report_runs import ARMS, FRACTIONS, STAGES, STORE, TASK, true_score, write_run

READ = (*STAGES, "pooled")
# How early an arm's features are good: the share of its final score reached at the first stage.
EARLY = {"scratch": 0.95, "imagenet": 0.88, "moco": 0.86, "moco_mse": 0.9, "moco_bt": 0.92}
_DIMENSIONS = dict(zip(READ, (64, 128, 256, 512, 512), strict=True))


def layer_run(folder: Path, result: dict[str, Any]) -> Path:
    run = write_run(folder, {"arm": result["arm"], "seed": result["seed"]}, [], result)
    # These runs have no epochs.
    (run / "metrics.jsonl").unlink()
    return run


def common(kind: str, arm: str, seed: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "encoder": arm,
        "arm": arm,
        "backbone": "resnet18",
        "store": STORE,
        "store_digest": "abc",
        "task": TASK,
        "seed": seed,
        "seconds": 12.0,
        "device": "cpu",
    }


def probe_run(folder: Path, arm: str, fraction: float, seed: int = 0, **changes: Any) -> Path:
    draw = np.random.default_rng([seed, round(fraction * 1000), len(arm), 7])
    final, early = true_score(arm, fraction, "frozen"), EARLY.get(arm, 0.9)

    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.03, "high": value + 0.028}

    stages = {}
    for i, stage in enumerate(READ):
        value = final * (early + (1 - early) * min(i, 3) / 3) + 0.004 * draw.normal()
        stages[stage] = {"linear": interval(value), "knn": interval(value - 0.03)}
    images = round(2970 * fraction)
    result = {
        **common("probe", arm, seed),
        "fraction": fraction,
        "subset_seed": seed,
        "subset": {"images": images, "patients": round(images * 0.74), "per_class": {}},
        "metric": "macro_auroc",
        "test": {"images": 848, "patients": 601, "resamples": 1000, "stages": stages},
    }
    return layer_run(folder, result | changes)


def reuse_run(
    folder: Path, arm: str, fraction: float, seed: int = 0, *, legacy: bool = False, **changes: Any
) -> Path:
    draw = np.random.default_rng([seed, round(fraction * 1000), len(arm), 11])
    kept = 0.5 + 0.35 * EARLY.get(arm, 0.9) - 0.08 * np.log10(100 * fraction)

    def entry(i: int, biased: bool, scale: float) -> dict[str, Any]:
        value = (kept - 0.11 * i + 0.01 * draw.normal()) * scale
        null = 0.35 if biased else 0.0
        return {
            "value": value + (0.06 if biased else 0),
            "subset_mean": value,
            "subset_sd": 0.012,
            "null": {"mean": null, "high": null + 0.02},
            "random": 0.3 * scale,
        }

    cka = {
        f"{kernel}{form}": {stage: entry(i, not form, scale) for i, stage in enumerate(READ)}
        for kernel, scale in (("linear", 1.0), ("rbf", 0.93))
        for form in ("", "_debiased")
    }
    far = np.abs(np.subtract.outer(range(5), range(5)))
    within = (0.75**far).tolist()
    result = {
        **common("reuse", arm, seed),
        "fraction": fraction,
        "protocol": "full",
        "run": f"{arm}-{fraction:g}-seed{seed}",
        "images": 848,
        "subsets": {"count": 50, "size": 500},
        "stages": list(READ),
        "cka": cka,
        "heatmap": {
            "measure": "linear_debiased",
            "before_after": (kept * 0.7**far).tolist(),
            "before": within,
            "after": within,
        },
    }
    if legacy:
        result["legacy"] = dict.fromkeys(READ, 0.9995)
    return layer_run(folder, result | changes)


def atlas_run(folder: Path, arm: str, seed: int = 0, *, images: int = 400, **changes: Any) -> Path:
    draw = np.random.default_rng([seed, len(arm), 13])
    good = EARLY.get(arm, 0.9)
    spectrum = {
        stage: {
            "effective_rank": dims * good * 0.3 / (1 + i),
            "rankme": dims * good * 0.25 / (1 + i),
            "feature_norm": 3.0 + i,
            "spread": 0.4,
            "dimensions": dims,
            "images": images,
        }
        for i, (stage, dims) in enumerate(_DIMENSIONS.items())
    }
    near = [
        {"sample_id": f"s{j}", "cosine": 0.9 - 0.05 * j, "same_label": j < 3, "same_patient": j < 1}
        for j in range(5)
    ]
    result = {
        **common("atlas", arm, seed),
        "images": images,
        "spectrum": spectrum,
        "neighbours": {
            "agreement": {
                "label": 0.7 * good + 0.1 + 0.01 * seed,
                "label_chance": 0.5,
                "label_other_patients": 0.66 * good,
                "label_other_patients_chance": 0.498,
                "patient": 0.12,
                "patient_chance": 0.007,
            },
            "k": 5,
            "queries": [{"sample_id": f"q{i}", "neighbours": near} for i in range(6)],
        },
        "map": {"method": "t-SNE", "seed": seed},
    }
    run = layer_run(folder, result | changes)
    # The images are the same for every arm.
    fixed = np.random.default_rng(5)
    label = fixed.integers(0, 2, images)
    patient = fixed.integers(0, images // 3, images)
    centres = fixed.normal(size=(images, 2))
    places = np.stack([4 * good * label, np.zeros(images)], 1) + centres[patient]
    places += 0.15 * draw.normal(size=places.shape)
    frame = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(images)],
            "patient_id": [f"p{one}" for one in patient],
            "site": None,
            "label": [TASK["classes"][one] for one in label],
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )
    frame.to_parquet(run / "map.parquet", index=False)
    Image.fromarray(_sheet(draw)).save(run / "neighbours.png")
    return run


def _sheet(draw: np.random.Generator) -> np.ndarray:
    """Rows of a query and five neighbours, apart by a gap."""
    rows, columns, side, gap = 6, 6, 48, 4
    sheet = np.full((rows * (side + gap) - gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    y, x = np.mgrid[:side, :side] / side
    for row in range(rows):
        centre = draw.uniform(0.3, 0.7, 2)
        for column in range(columns):
            place = centre + 0.03 * column * draw.normal(size=2)
            blob = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / 0.03)
            left = column * (side + gap) + (gap if column else 0)
            top = row * (side + gap)
            sheet[top : top + side, left : left + side] = (40 + 180 * blob)[..., None]
    return sheet


def layer_study(
    folder: Path,
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1),
    fractions: Sequence[float] = FRACTIONS,
    legacy: bool = False,
) -> Path:
    """All three kinds for every arm, fraction and seed."""
    for arm in arms:
        for seed in seeds:
            atlas_run(folder / f"atlas/{arm}-seed{seed}", arm, seed)
            for fraction in fractions:
                name = f"{arm}-{fraction:g}-seed{seed}"
                probe_run(folder / "probe" / name, arm, fraction, seed)
                reuse_run(folder / "reuse" / name, arm, fraction, seed, legacy=legacy)
    return folder
