"""Tiny finished runs to export: an untrained network in the folders that training writes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from medstrata.models.backbones import Backbone, create_backbone
from medstrata.models.encoders import LoadedEncoder, encoder_digest, export_backbone
from medstrata.models.preprocessing import Preprocessing
from medstrata.runs.folder import read_result

SIZE = 32
STORE = {"name": "chests.store", "images": 60, "patients": 20, "size": SIZE, "channels": 1}
_TRAINING = {"store_digest": "0123abcd", "epochs": 3, "batch_size": 8, "seed": 7}


def lively_backbone(architecture: str, channels: int) -> Backbone:
    """A network whose statistics, scales and shifts are all drawn: none is lost unseen."""
    backbone = create_backbone(architecture, in_channels=channels, image_size=SIZE)
    generator = torch.Generator().manual_seed(1)
    state = backbone.state_dict()
    for key, value in state.items():
        if value.ndim == 1 and value.is_floating_point():
            drawn = torch.rand(value.shape, generator=generator)
            positive = key.endswith(("running_var", "weight", "gamma"))
            state[key] = 0.5 + drawn if positive else drawn - 0.5
    backbone.load_state_dict(state)
    return backbone


def preprocessing_of(channels: int) -> Preprocessing:
    """One that differs in every channel."""
    mean = tuple(0.4 + 0.05 * number for number in range(channels))
    std = tuple(0.2 + 0.05 * number for number in range(channels))
    return Preprocessing(image_size=SIZE, channels=channels, mean=mean, std=std)


def pretrained_run(folder: Path, architecture: str, channels: int = 1) -> Path:
    """What a finished pre-training run leaves behind."""
    folder.mkdir(parents=True)
    backbone = lively_backbone(architecture, channels)
    loaded = LoadedEncoder("moco_mse", architecture, backbone, preprocessing_of(channels))
    export_backbone(folder / "exported", loaded)
    described = {"recipe": "fair/moco_mse", "backbone": architecture}
    settings = {**described, **_TRAINING, "weights": "/home/jane.doe/secret.safetensors"}
    result = {
        "kind": "pretrain",
        "arm": "moco_mse",
        "encoder_digest": encoder_digest(loaded),
        **described,
        "images": 30,
        "steps": 12,
    }
    return _write(folder, settings, result)


def tuned_run(
    folder: Path,
    architecture: str,
    *,
    encoder: str,
    channels: int = 1,
    task: dict[str, Any] | None = None,
    outputs: int = 1,
) -> Path:
    """What a finished full fine-tuning leaves behind."""
    folder.mkdir(parents=True)
    task = task or {"name": "finding", "kind": "binary", "classes": ["clear", "opaque"]}
    _write_classifier(folder / "exported", architecture, channels, task, outputs)
    described = {
        "encoder": encoder,
        "arm": "moco_mse",
        "backbone": architecture,
        "task": task,
        "fraction": 0.5,
        "protocol": "full",
        **_TRAINING,
    }
    cell = {"value": 0.8125, "low": 0.7, "high": 0.9}
    start = read_result(folder / encoder) or {}
    result = {
        "kind": "finetune",
        **described,
        "encoder_digest": start.get("encoder_digest"),
        "subset": {"images": 15},
        "metric": "auroc",
        "test": {"images": 15, "patients": 5, "resamples": 20, "scores": {"auroc": cell}},
    }
    return _write(folder, described, result)


def _write_classifier(
    folder: Path, architecture: str, channels: int, task: dict[str, Any], outputs: int
) -> None:
    backbone, expected = lively_backbone(architecture, channels), preprocessing_of(channels)
    loaded = LoadedEncoder("moco_mse", architecture, backbone, expected)
    export_backbone(folder, loaded)
    generator = torch.Generator().manual_seed(2)
    head = {
        "weight": torch.randn(outputs, backbone.embed_dim, generator=generator),
        "bias": torch.randn(outputs, generator=generator),
    }
    save_file(head, folder / "head.safetensors")
    model = {
        "task": task,
        "columns": task["classes"],
        "thresholds": {"values": {}},
        "architecture": architecture,
        "encoder": None,
        "layer": "pooled",
        "encoder_digest": encoder_digest(loaded),
        "seed": 7,
        "image_size": SIZE,
        "preprocessing": asdict(expected),
        "preparation": {
            "size": SIZE,
            "channels": channels,
            "fit": "pad",
            "window": "first",
            "frames": "middle",
            "axis": "axial",
            "bits": 8,
        },
        "store": {"name": STORE["name"], "mean": [0.5] * channels, "std": [0.2] * channels},
    }
    (folder / "model.json").write_text(json.dumps(model))


def _write(folder: Path, settings: dict[str, Any], result: dict[str, Any]) -> Path:
    config = {**settings, "store": STORE["name"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    result = {**result, "store": STORE, "seconds": 36.0, "device": "cpu"}
    (folder / "result.json").write_text(json.dumps(result))
    return folder
