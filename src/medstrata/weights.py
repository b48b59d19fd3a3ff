"""Encoders on disk: safetensors with timm's own keys, and what they expect of their input."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file

from medstrata.backbones import Backbone, create_backbone
from medstrata.errors import MedstrataError
from medstrata.files import replacing, write_text
from medstrata.preprocessing import Preprocessing, imagenet

_WEIGHTS = "backbone.safetensors"


class LoadedEncoder(NamedTuple):
    """A backbone and how it is used."""

    arm: str  # short name for tables
    architecture: str  # timm's name
    backbone: Backbone
    preprocessing: Preprocessing


def export_backbone(
    folder: Path, architecture: str, backbone: Backbone, preprocessing: Preprocessing, arm: str
) -> None:
    """Write `backbone.safetensors` (keys as in timm) and `config.json` into a folder."""
    folder.mkdir(exist_ok=True)
    state = {key: value.contiguous().cpu() for key, value in backbone.model.state_dict().items()}
    with replacing(folder / _WEIGHTS) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": backbone.embed_dim,
        "arm": arm,
        "preprocessing": asdict(preprocessing),
    }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def load_encoder(
    encoder: str, *, backbone: str | None, image_size: int, channels: int, store_stats: Any
) -> LoadedEncoder:
    """Load what `finetune` and `probe` are given.

    Args:
        encoder: A run folder, `scratch`, `imagenet`, or `imagenet=FILE` with local weights.
        backbone: timm's name; needed unless a run folder says it.
        image_size: Input side in pixels for encoders that do not come from a run.
        channels: Channels of the store's images.
        store_stats: (mean, std) of the store, for `scratch`.

    Raises:
        MedstrataError: nothing can be loaded from what is named.
    """
    kind, _, file = encoder.partition("=")
    if kind in ("scratch", "imagenet"):
        if backbone is None:
            raise MedstrataError(f"{encoder} needs to know the network: add --backbone resnet18")
        if kind == "scratch":
            mean, std = store_stats
            preprocessing = Preprocessing(
                image_size=image_size, channels=channels, mean=mean, std=std
            )
            weights = None
        else:
            preprocessing, weights = imagenet(image_size, 3), file or "imagenet"
        network = create_backbone(
            backbone,
            in_channels=preprocessing.channels,
            image_size=image_size,
            weights=weights,
        )
        return LoadedEncoder(kind, backbone, network, preprocessing)
    return _load_run(Path(encoder), backbone)


def _load_run(run: Path, backbone: str | None) -> LoadedEncoder:
    exported = run / "exported"
    if not (exported / "config.json").is_file():
        what = "is not finished" if (run / "config.yaml").is_file() else "is not a run folder"
        raise MedstrataError(
            f"{run} {what}; give a finished pre-training run, `scratch` or `imagenet`"
        )
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    if backbone not in (None, config["architecture"]):
        raise MedstrataError(f"{run} holds a {config['architecture']}, not a {backbone}")
    options = config["preprocessing"]
    preprocessing = Preprocessing(
        image_size=options["image_size"],
        channels=options["channels"],
        mean=tuple(options["mean"]),
        std=tuple(options["std"]),
    )
    network = create_backbone(
        config["architecture"],
        in_channels=preprocessing.channels,
        image_size=preprocessing.image_size,
        weights=str(exported / _WEIGHTS),
    )
    return LoadedEncoder(config["arm"], config["architecture"], network, preprocessing)
