"""Encoders on disk: safetensors with timm's own keys, and what they expect of their input."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from medstrata.models.backbones import (
    Backbone,
    create_backbone,
    load_weights,
    require_input_size,
    timm_name,
)
from medstrata.models.importing.config_json import CONFIG, InputConfig, read_input_config
from medstrata.models.importing.conversions import timm_config
from medstrata.models.importing.find_encoder import EncoderInFile, find_encoder, read_own_encoder
from medstrata.models.importing.match import Match, channels_of, match
from medstrata.models.preprocessing import (
    NORMALISATIONS,
    Preprocessing,
    for_normalisation,
    imagenet,
)
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result, unusable_run
from medstrata.runtime.console import say
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import save_tensors, write_text

_WEIGHTS = "backbone.safetensors"
_USUAL_SIZE = 224  # of networks that are not timm's


class LoadedEncoder(NamedTuple):
    """A backbone and how it is used."""

    arm: str  # short name for tables
    architecture: str  # timm's name
    backbone: Backbone
    preprocessing: Preprocessing


def encoder_digest(loaded: LoadedEncoder) -> str:
    """Names an encoder: its network, weights, statistics and what it expects of its input."""
    described = {
        "architecture": loaded.architecture,
        "preprocessing": asdict(loaded.preprocessing),
    }
    digest = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16)
    for key, value in sorted(loaded.backbone.model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def export_backbone(folder: Path, loaded: LoadedEncoder) -> None:
    """Write `backbone.safetensors` (keys as in timm) and `config.json` into a folder."""
    folder.mkdir(exist_ok=True)
    save_tensors(folder / _WEIGHTS, loaded.backbone.model.state_dict())
    config = {
        "architecture": loaded.architecture,
        "num_classes": 0,
        "num_features": loaded.backbone.embed_dim,
        "arm": loaded.arm,
        "preprocessing": asdict(loaded.preprocessing),
    }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def load_encoder(
    encoder: EncoderSpec,
    *,
    backbone: str | None,
    image_size: int,
    channels: int,
    store_stats: Any,
) -> LoadedEncoder:
    """Load what `finetune` and `probe` are given.

    Args:
        encoder: A run folder, a weights file of any layout that is known, random weights, or
            those of ImageNet, which expect its mean and deviation.
        backbone: timm's name; needed unless a run folder says it.
        image_size: Input side in pixels for encoders that do not come from a run.
        channels: Channels of the store's images.
        store_stats: (mean, std) of the store, for `scratch`.

    Raises:
        MedstrataError: nothing can be loaded from what is named.
    """
    path, backbone = encoder.path, backbone and timm_name(backbone)
    if path is not None and not encoder.needs_backbone:
        return load_run(path, backbone)
    if backbone is None:
        raise MedstrataError(f"{encoder} needs to know the network: add --backbone resnet18")
    if path is not None and encoder.kind == "path":
        loaded, _ = load_foreign(
            find_encoder(path), backbone, image_size=image_size, least_channels=channels
        )
        return loaded
    if encoder.kind == "imagenet":
        preprocessing = imagenet(image_size, 3)
    else:
        mean, std = store_stats
        preprocessing = Preprocessing(image_size=image_size, channels=channels, mean=mean, std=std)
    network = create_backbone(
        backbone,
        in_channels=preprocessing.channels,
        image_size=image_size,
        pretrained=encoder.kind == "imagenet" and path is None,
    )
    if path is not None:
        load_weights(network, find_encoder(path))
    return LoadedEncoder(encoder.kind, backbone, network, preprocessing)


def with_image_size(loaded: LoadedEncoder, image_size: int) -> LoadedEncoder:
    """The same encoder for input of a side in pixels, which need not be what it was trained with.

    Raises:
        MedstrataError: the network does not take it.
    """
    own = loaded.preprocessing
    if own.image_size == image_size:
        return loaded
    config = timm_config(loaded.architecture)
    if config is not None and config.fixed_input_size:
        raise MedstrataError(
            f"{loaded.arm} is a {loaded.architecture}, which takes images of {own.image_size} "
            f"pixels only; leave out the {image_size} asked for"
        )
    require_input_size(loaded.backbone, loaded.architecture, own.channels, image_size)
    return loaded._replace(preprocessing=replace(own, image_size=image_size))


def load_foreign(
    found: EncoderInFile,
    backbone: str,
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    least_channels: int = 1,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[LoadedEncoder, Match]:
    """Build the encoder that was found in another program's file, and say what was assumed.

    Args:
        found: The encoder in the file.
        backbone: timm's name.
        image_size: Input side in pixels; None takes what config.json beside the file says, else
            what timm names for the backbone.
        in_channels: 1 or 3; None takes the file's.
        least_channels: Of the images, where `in_channels` is None.
        mean: Subtracted from values in 0..1, one or one a channel; None takes what config.json
            beside the file says, else the layout's own.
        std: Divides afterwards, likewise.

    Raises:
        MedstrataError: the encoder does not fit the backbone, or the numbers not its channels.
    """
    own = channels_of(found, backbone)
    if own not in (None, 1, 3):
        raise MedstrataError(
            f"{found.path} was trained on images of {own} channels; 1 or 3 are supported"
        )
    said = read_input_config(found.path, backbone)
    if image_size is None:
        image_size = (said and said.image_size) or _usual_size(backbone)
    channels = in_channels or max(own or 3, least_channels)
    network = create_backbone(backbone, in_channels=channels, image_size=image_size)
    matched = load_weights(network, found)
    usual, source = _usual_input(found, said, image_size, channels)
    assumed = [name for name, given in (("mean", mean), ("std", std)) if given is None]
    if assumed:
        which = "" if len(assumed) == 2 else f"{assumed[0]} of the "
        say(f"{found.path.name}: {which}input as {source}")
    preprocessing = replace(
        usual, mean=_per_channel("mean", mean, usual.mean), std=_per_channel("std", std, usual.std)
    )
    return LoadedEncoder(found.path.stem, backbone, network, preprocessing), matched


def _usual_input(
    found: EncoderInFile, said: InputConfig | None, image_size: int, channels: int
) -> tuple[Preprocessing, str]:
    """What an encoder expects unless told otherwise, and who says so."""
    if said is None:
        return for_normalisation(found.normalisation, image_size, channels), (
            f"{NORMALISATIONS[found.normalisation]}, usual for the {found.layout} layout but not "
            "in the file (import-weights takes --mean and --std)"
        )
    mean, std = (_spread(values, channels) for values in (said.mean, said.std))
    described = Preprocessing(image_size=image_size, channels=channels, mean=mean, std=std)
    return described, f"{CONFIG} beside it says"


def _usual_size(backbone: str) -> int:
    config = timm_config(backbone)
    return int(config.input_size[-1]) if config is not None else _USUAL_SIZE


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for all channels; for one channel, the average of three."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _per_channel(
    name: str, given: Sequence[float] | None, usual: tuple[float, ...]
) -> tuple[float, ...]:
    if given is None:
        return usual
    if len(given) not in (1, len(usual)):
        raise MedstrataError(f"{name} has {len(given)} values; give one, or one of {len(usual)}")
    return tuple(float(value) for value in given) * (len(usual) // len(given))


def load_run(run: Path, backbone: str | None = None) -> LoadedEncoder:
    """Load the encoder that a run has exported.

    Args:
        run: A finished run of `pretrain` or `import_weights`, or a fully fine-tuned one.
        backbone: timm's name, where the run should hold that; None takes any.

    Raises:
        MedstrataError: it is no finished run, its files are damaged, or the network is another.
    """
    arm, architecture, preprocessing = _exported(run, backbone)
    network = create_backbone(
        architecture, in_channels=preprocessing.channels, image_size=preprocessing.image_size
    )
    match(network.model, read_own_encoder(run / "exported" / _WEIGHTS))
    loaded = LoadedEncoder(arm, architecture, network, preprocessing)
    recorded = _recorded_digest(run)
    if recorded is not None and recorded != encoder_digest(loaded):
        raise MedstrataError(
            f"{run / 'exported'} is not what the run has written: its weights or config.json have "
            "changed since; put them back, or make the run again"
        )
    return loaded


def _recorded_digest(run: Path) -> str | None:
    """What names the encoder that a run has exported; None where the run does not say."""
    described = run / "exported" / "model.json"  # of a fine-tuned one, result.json has its start's
    if not described.is_file():
        return (read_result(run) or {}).get("encoder_digest")
    try:
        return str(read_json(described)["encoder_digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise MedstrataError(f"{described} is damaged; fine-tune again") from error


def read_encoder(encoder: EncoderSpec, backbone: str) -> EncoderInFile:
    """The weights that a run folder or a file holds, for a network that is to start from them.

    Args:
        encoder: Has a path.
        backbone: timm's name of that network.

    Raises:
        MedstrataError: it is no finished run or weights file, one of another network, or one whose
            files have changed.
    """
    assert encoder.path is not None
    if encoder.needs_backbone:
        return find_encoder(encoder.path)
    load_run(encoder.path, backbone)  # which refuses what changed since it was written
    return read_own_encoder(encoder.path / "exported" / _WEIGHTS)


def _exported(run: Path, backbone: str | None) -> tuple[str, str, Preprocessing]:
    """Arm, architecture and expected input of the encoder that a run has exported."""
    exported = run / "exported"
    if not (exported / "config.json").is_file():
        wanted = "a finished pre-training run, a weights file, `scratch` or `imagenet`"
        raise unusable_run(run, wanted)
    try:
        config = read_json(exported / "config.json")
        arm, architecture = str(config["arm"]), str(config["architecture"])
        options = config["preprocessing"]
        preprocessing = Preprocessing(
            image_size=int(options["image_size"]),
            channels=int(options["channels"]),
            mean=tuple(options["mean"]),
            std=tuple(options["std"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MedstrataError(
            f"{exported / 'config.json'} is damaged ({type(error).__name__}); make the run again"
        ) from error
    if backbone not in (None, architecture):
        raise MedstrataError(f"{run} holds a {architecture}, not a {backbone}")
    return arm, architecture, preprocessing
