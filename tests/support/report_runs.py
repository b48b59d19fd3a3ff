"""Run folders as the program leaves them, with plausible made-up numbers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

STAGES = ("stage1", "stage2", "stage3", "stage4")
ARMS = ("scratch", "imagenet", "moco", "moco_mse", "moco_bt")
FRACTIONS = (0.01, 0.1, 1.0)
STORE = {"name": "cxr.store", "images": 5824, "size": 224, "channels": 1}
SPLITS = {
    "train": {"images": 4077, "patients": 2868, "labelled": 2970},
    "val": {"images": 583, "patients": 409, "labelled": 424},
    "test": {"images": 1164, "patients": 819, "labelled": 848},
}
TASK = {"name": "subtype", "kind": "binary", "classes": ["bacteria", "virus"]}
ENVIRONMENT = {
    "date": "2026-03-02T09:30:00+00:00",
    "python": "3.12.4",
    "processor": "Example CPU",
    "gpu": None,
    "packages": {"medstrata": "0.1.0", "torch": "2.9.0"},
    "git": "0123456789ab",
}


def write_run(
    folder: Path,
    config: dict[str, Any],
    records: Sequence[dict[str, Any]],
    result: dict[str, Any] | None,
) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT), encoding="utf-8")
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder


def pretrain_records(arm: str, epochs: int, seed: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng([seed, len(arm)])
    staged = arm not in ("moco", "scratch")
    records = []
    for epoch in range(epochs):
        left = np.exp(-3 * epoch / epochs)
        contrastive = 4.6 + 3.4 * left + 0.05 * draw.normal()
        losses = {stage: (0.2 + 0.1 * i) * (0.3 + left) for i, stage in enumerate(STAGES)}
        pooled = (*STAGES, "pooled")
        records.append(
            {
                "event": "epoch",
                "epoch": epoch,
                "step": 15 * (epoch + 1),
                "loss": contrastive + (0.3 * left if staged else 0),
                "contrastive": contrastive,
                "intermediate": losses if staged else {},
                "feature_norm": {s: 3.0 + i + left for i, s in enumerate(pooled)},
                "effective_rank": {
                    s: (12 + 14 * i) * (1.3 - left) + draw.normal() for i, s in enumerate(pooled)
                },
                "positive_similarity": 0.9 - 0.3 * left,
                "negative_similarity": 0.05 + 0.3 * left,
                "knn": {
                    "task": "subtype",
                    "metric": "macro_auroc",
                    "value": 0.74 - 0.14 * left + 0.006 * draw.normal(),
                },
                "warnings": ["features use 1.9 of 511 directions: dimensional collapse"]
                if arm == "moco_bt" and epoch in (1, 2)
                else [],
                "time": {"seconds": 31.0},
            }
        )
    return records


def pretrain_run(folder: Path, arm: str, *, epochs: int = 24, seed: int = 0) -> Path:
    records = pretrain_records(arm, epochs, seed)
    result = {
        "kind": "pretrain",
        "arm": arm,
        "recipe": f"fair/{arm}",
        "backbone": "resnet18",
        "parameters": 11_170_240,
        "store": STORE,
        "images": 4077,
        "epochs": epochs,
        "steps": 15 * epochs,
        "seconds": 31.0 * epochs,
        "seed": seed,
        "device": "cpu",
        "final": records[-1],
    }
    config = {
        "recipe": f"fair/{arm}",
        "backbone": "resnet18",
        "epochs": epochs,
        "seed": seed,
        "contrastive": {"temperature": 0.2, "queue_size": 65536},
    }
    write_run(folder, config, records, result)
    Image.fromarray(views_sheet(arm)).save(folder / "views.png")
    return folder


def views_sheet(arm: str) -> np.ndarray:
    """Eight pairs of blobs, one below the other; the same for all arms but moco_bt."""
    side = 64
    draw = np.random.default_rng(arm == "moco_bt")
    y, x = np.mgrid[:side, :side] / side
    rows = []
    for _ in range(8):
        centre = draw.uniform(0.3, 0.7, 2)
        pair = []
        for _ in range(2):
            shift = centre + draw.normal(0, 0.08, 2)
            blob = np.exp(-((y - shift[0]) ** 2 + (x - shift[1]) ** 2) / 0.03)
            grain = 0.06 * draw.normal(size=(side, side))
            pair.append(np.clip(40 + 180 * blob + 255 * grain, 0, 255))
        rows.append(np.concatenate(pair, axis=1))
    return np.concatenate(rows).astype(np.uint8)


def true_score(arm: str, fraction: float, protocol: str) -> float:
    """A score that rises with labels; good starts matter most where labels are few."""
    gains = {"scratch": 0.0, "imagenet": 0.08, "moco": 0.1, "moco_mse": 0.14, "moco_bt": 0.12}
    few = -np.log10(fraction) / 2
    ceiling = 0.86 if protocol == "full" else 0.79
    return float(ceiling - 0.2 * few + gains.get(arm, 0.0) * (0.3 + 0.7 * few))


def finetune_result(
    arm: str, fraction: float, seed: int, protocol: str = "full", task: Any = None
) -> dict[str, Any]:
    draw = np.random.default_rng([seed, round(fraction * 1000), len(arm), len(protocol)])
    value = true_score(arm, fraction, protocol) + 0.012 * draw.normal()
    images = round(2970 * fraction)
    task = task or TASK
    shares = [0.65, *[0.35 / (len(task["classes"]) - 1)] * (len(task["classes"]) - 1)]

    def interval(value: float, half: float) -> dict[str, float]:
        return {"value": value, "low": value - half, "high": value + 0.9 * half}

    return {
        "kind": "finetune",
        "arm": arm,
        "encoder": arm,
        "backbone": "resnet18",
        "protocol": protocol,
        "fraction": fraction,
        "seed": seed,
        "store": {**STORE, "patients": 4096, "splits": SPLITS},
        "task": task,
        "subset": {
            "images": images,
            "patients": round(images * 0.74),
            "per_class": {
                c: round(images * s) for c, s in zip(task["classes"], shares, strict=True)
            },
        },
        "metric": "macro_auroc",
        "best_validation": 7,
        "val": {"value": value + 0.01},
        "test": {
            "images": 848,
            "patients": 601,
            "scores": {
                "macro_auroc": interval(value, 0.034),
                "average_precision": interval(value - 0.07, 0.045),
                "macro_f1": interval(value - 0.09, 0.038),
                "brier": interval(0.62 - 0.5 * value, 0.02),
            },
        },
        "seconds": 84.0,
        "device": "cpu",
        "legacy": False,
    }


def finetune_run(
    folder: Path,
    arm: str,
    fraction: float,
    seed: int = 0,
    protocol: str = "full",
    *,
    finished: bool = True,
    **changes: Any,
) -> Path:
    """A fine-tuning run; `changes` replace entries of its result."""
    result = {**finetune_result(arm, fraction, seed, protocol), **changes}
    score = true_score(arm, fraction, protocol)
    records = []
    for epoch in range(10 if protocol == "full" else 6):
        record = {
            "event": "epoch",
            "validation": epoch,
            "step": 10 * (epoch + 1),
            "train_loss": 0.69 * np.exp(-epoch / 5) + 0.02 * seed,
            "val_loss": 0.69 * np.exp(-epoch / 9),
            "val_score": score - 0.2 * np.exp(-epoch / 3) + 0.01 * seed,
            "metric": "macro_auroc",
            "time": {},
        }
        records.append(record | ({"penalty": 10.0 ** (epoch - 4)} if protocol == "frozen" else {}))
    config = {"arm": arm, "fraction": fraction, "seed": seed, "protocol": protocol, "epochs": 10}
    write_run(folder, config, records, result if finished else None)
    draw = result.get("subset_seed", seed)
    names = "\n".join(f"s{draw}-{i}" for i in range(round(2970 * fraction)))
    (folder / "subset.csv").write_text(f"sample_id\n{names}\n", encoding="utf-8")
    return folder


def study(folder: Path, *, arms: Sequence[str] = ARMS, seeds: Sequence[int] = (0, 1)) -> Path:
    """Pre-training, and every arm at three fractions under two protocols."""
    for arm in arms:
        if arm.startswith("moco"):
            pretrain_run(folder / "pretrain" / arm, arm)
    for protocol in ("full", "frozen"):
        for arm in arms:
            if (protocol, arm) == ("frozen", "scratch"):
                continue
            for fraction in FRACTIONS:
                for seed in seeds:
                    name = f"{arm}-{fraction:g}-seed{seed}"
                    finetune_run(folder / protocol / name, arm, fraction, seed, protocol)
    return folder
